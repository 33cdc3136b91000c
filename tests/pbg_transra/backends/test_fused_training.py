"""The fused processor around its mathematics: updates, batches, training, errors."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.multiprocessing import get_context

from artifacts.errors import DataError
from artifacts.formats.graph import EntityType, Graph, Relation
from pbg_transra.backends.backend import Rates, Resident, Trained
from pbg_transra.backends.cpu import make_processor
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.fused.batches import Batcher
from pbg_transra.backends.fused.levels import VARIABLE
from pbg_transra.backends.fused.processor import FusedProcessor
from pbg_transra.backends.processor import Processor
from pbg_transra.backends.reference import ReferenceProcessor
from pbg_transra.backends.tables import Ends, Partition
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.checkpoint import Checkpoint
from pbg_transra.pbg.embedder import make_embedder
from pbg_transra.training.train import train
from tests.pbg_transra.backends.test_fused import LEVELS
from tests.worlds.small_graphs import block_graph

ROWS = 40


def world(relations: int) -> Graph:
    return Graph(
        entity_types=(EntityType("user", (ROWS,)), EntityType("pin", (ROWS,))),
        relations=tuple(Relation(f"r{number}", "user", "pin", "onsite", {"train": 1}) for number in range(relations)),
        consent={},
        window=(None, None),
    )


@dataclass(frozen=True)
class Trainee:
    """A processor with its model, and the tables that it trains."""

    processor: Any
    ends: Ends
    rates: Rates

    @property
    def model(self) -> Any:
        return self.processor.model

    def train(self, edges: Edges) -> Trained:
        return self.processor.process(edges, self.ends, self.rates)

    def values(self) -> list[Tensor]:
        """Everything that training moves."""
        tables = [self.ends.heads["user"], self.ends.tails["pin"]]
        relations = [p.detach() for p in self.model.relation_parameters().values()]
        return [*relations, *(values for table in tables for values in (table.vectors, table.sums))]


def trainee(kind: type[Processor], config: ModelConfig, relations: int = 1) -> Trainee:
    """The same for both kinds."""
    torch.manual_seed(1)
    processor = kind(make_embedder(world(relations), config), config, 1)
    user, pin = (
        Partition(Resident(name, 0, 0), torch.randn(ROWS, config.dimension), torch.zeros(ROWS))
        for name in ("user", "pin")
    )
    return Trainee(processor, Ends({"user": user}, {"pin": pin}), Rates(config.lr, config.relation_lr))


def edges(relations: Tensor, weights: Tensor | None = None) -> Edges:
    heads, tails = (torch.randint(ROWS, (len(relations),)) for _ in range(2))
    return Edges(heads, tails, relations, weights)


@settings(max_examples=100, deadline=None)
@given(
    relations=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    chunk=st.integers(0, 4),
    uniform=st.integers(1, 4),
    multiple=st.integers(1, 5),
)
def test_batches_hold_each_edge_once(relations: list[int], chunk: int, uniform: int, multiple: int) -> None:
    config = ModelConfig(
        operator="transr",
        batch_size=max(1, chunk) * multiple,
        batch_negatives=chunk,
        uniform_negatives=uniform,
    )
    kinds = torch.tensor([0, 0, 0, 1, 1, 2])
    numbers = torch.arange(len(relations))
    found: Counter[int] = Counter()
    for batch in Batcher(kinds, config).batches(Edges(numbers, numbers, torch.tensor(relations), None)):
        heads = batch.padded().heads
        assert batch.count <= config.batch_size
        assert heads.shape[1] == batch.layout.chunks * batch.layout.size
        of_groups = batch.relations.tolist()
        assert len(set(kinds[of_groups].tolist())) == 1
        for group, count, relation in zip(heads.tolist(), batch.lengths.tolist(), of_groups, strict=True):
            assert {relations[edge] for edge in group} == {relation}
            found.update(group[:count])
    assert found == Counter(numbers.tolist())


def test_relations_with_few_edges_share_steps() -> None:
    config = ModelConfig(operator="transr", batch_size=1000, batch_negatives=50)
    relations = torch.arange(10_000).repeat(3)
    rows = torch.zeros_like(relations)
    batches = list(Batcher(torch.zeros(10_000, dtype=torch.long), config).batches(Edges(rows, rows, relations, None)))
    assert len(batches) == 10_000 // 20
    assert {batch.padded().heads.shape for batch in batches} == {(20, 3)}


def repeated_randint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both processors then draw the same negatives in every step."""
    original = torch.randint

    def randint(high: int, size: tuple[int, ...], low: int = 0) -> Tensor:
        return original(low, high, tuple(size), generator=torch.Generator().manual_seed(7))

    monkeypatch.setattr(torch, "randint", randint)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("negatives", [(0, 20), (20, 0), (20, 5)])
@pytest.mark.parametrize("operator", ["transe", "transr"])
def test_one_worker_trains_what_the_reference_trains(
    monkeypatch: pytest.MonkeyPatch, operator: str, negatives: tuple[int, int], weighted: bool
) -> None:
    """One relation and a batch of one chunk, so that both take the same steps."""
    settings_ = ModelConfig(
        operator=operator,
        dimension=6,
        batch_size=20,
        batch_negatives=negatives[0],
        uniform_negatives=negatives[1],
        pull=0.01,
        regularization=0.02,
        head_weight=0.3,
    )
    weights = torch.arange(20.0) % 7 if weighted else None
    batch, states = edges(torch.zeros(20, dtype=torch.long), weights), []
    repeated_randint(monkeypatch)
    for kind in (ReferenceProcessor, FusedProcessor):
        learner = trainee(kind, settings_)
        losses = [learner.train(batch).loss for _ in range(10)]
        states.append([torch.tensor(losses), *learner.values()])
        assert losses[-1] < losses[0]
    torch.testing.assert_close(states[0], states[1], rtol=1e-3, atol=1e-4)
    if weighted:
        unweighted = trainee(FusedProcessor, settings_)
        for _ in range(10):
            unweighted.train(replace(batch, weights=None))
        assert not torch.allclose(unweighted.values()[-2], states[1][-2], rtol=1e-2), "weights matter"


@pytest.mark.parametrize("level", LEVELS)
def test_divergence_names_the_relation(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, level)
    learner = trainee(FusedProcessor, ModelConfig(operator="transr", dimension=4, batch_size=100), relations=3)
    learner.model.get_parameter("rhs_operators.1.translation").data[0] = float("nan")
    with pytest.raises(DataError, match="relation 'r1' has loss nan in batch . of worker 0"):
        learner.train(edges(torch.arange(3).repeat(100)))


def test_parameters_are_views_of_few_tensors_also_after_a_resume() -> None:
    config = ModelConfig(operator="transra", anchors=("r0",), dimension=3, batch_size=100)
    learner = trainee(FusedProcessor, config, relations=4)
    model, processor = learner.model, learner.processor
    model.share_memory()
    pieces = {p.untyped_storage().data_ptr() for n, p in model.named_parameters() if n.startswith("rhs_operators")}
    assert len(pieces) == 2
    for total in processor.optimizer.sums.values():
        total += 5
    assert (processor.relations.translations.sums == 5).all()
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})
    assert (processor.relations.translations.values == 1).all()


def test_what_a_fork_trains_is_seen_here() -> None:
    learner = trainee(FusedProcessor, ModelConfig(operator="transr", dimension=3), relations=4)
    model, processor = learner.model, learner.processor
    before = {name: value.clone() for name, value in model.rhs_operators.state_dict().items()}
    context: Any = get_context(processor.start_method)
    fork = context.Process(target=learner.train, args=(edges(torch.zeros(10, dtype=torch.long)),))
    fork.start()
    fork.join()
    assert fork.exitcode == 0 and processor.counters[:, 0].sum() == 10
    moved = {name for name, value in model.rhs_operators.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"0.projection", "0.translation"}
    assert (processor.relations.translations.sums[0] > 0).all()


@pytest.mark.parametrize("operator", ["linear", "diagonal", "transr"])
def test_pbgs_own_operators_run_on_the_reference(operator: str) -> None:
    config = ModelConfig(operator=operator)
    expected = FusedProcessor if operator == "transr" else ReferenceProcessor
    assert type(make_processor(make_embedder(world(2), config), config, 1)) is expected


def trained(directory: Path, graph: Path, **changes: Any) -> tuple[float, Tensor]:
    values = {"dimension": 8, "epochs": 4, "batch_size": 100, "batch_negatives": 10, "uniform_negatives": 10, **changes}
    directory.mkdir()
    config = ModelConfig(operator="transr", workers=1, **values)
    report = train(graph, directory, config, lambda progress: None, lambda done: None)
    with Checkpoint(directory).vectors("user", 0) as vectors:
        return report.loss, torch.from_numpy(vectors[:])


def test_training_learns_as_the_reference_does_and_repeats_itself(tmp_path: Path) -> None:
    graph = tmp_path / "graph"
    graph.mkdir()
    block_graph(graph)
    loss, vectors = trained(tmp_path / "one", graph)
    again, same_vectors = trained(tmp_path / "two", graph)
    reference, _ = trained(tmp_path / "three", graph, processor="reference")
    first, _ = trained(tmp_path / "four", graph, epochs=1)
    assert torch.equal(vectors, same_vectors)
    assert loss == again
    assert loss == pytest.approx(reference, rel=0.03)
    assert loss < first - 0.3


@pytest.mark.parametrize("kind", [ReferenceProcessor, FusedProcessor])
def test_anchors_without_translation_learn_none_beside_relations_that_do(kind: type[Processor]) -> None:
    config = ModelConfig(anchors=("r0",), anchor_translation=False, dimension=6, similarity="dot", scale=1)
    learner = trainee(kind, config, relations=2)
    learner.train(edges(torch.arange(40) % 2))
    anchor, other = (operator.translation for operator in learner.model.rhs_operators)
    assert not anchor.any()
    assert other.all()


@pytest.mark.parametrize("kind", [ReferenceProcessor, FusedProcessor])
def test_without_head_weight_heads_are_no_negatives(kind: type[Processor]) -> None:
    """Heads that no edge has do not move, unless heads are looked for, too."""
    for head_weight in (0.0, 0.5):
        config = ModelConfig(operator="transe", dimension=6, similarity="dot", scale=1, head_weight=head_weight)
        learner = trainee(kind, config)
        before = learner.ends.heads["user"].vectors.clone()
        batch = edges(torch.zeros(5, dtype=torch.long))
        learner.train(batch)
        moved = (learner.ends.heads["user"].vectors != before).any(1)
        assert moved[batch.heads].all()
        assert bool(moved.sum() > len(batch.heads.unique())) == (head_weight > 0)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("row", [-1, ROWS])
@pytest.mark.parametrize("side", ["heads", "tails"])
def test_a_row_that_a_table_lacks_is_refused(level: str, row: int, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing moves."""
    monkeypatch.setenv(VARIABLE, level)
    learner = trainee(FusedProcessor, ModelConfig(operator="transr", dimension=4, batch_size=100))
    before, batch = [value.clone() for value in learner.values()], edges(torch.zeros(100, dtype=torch.long))
    getattr(batch, side)[60] = row
    with pytest.raises(IndexError):
        learner.train(batch)
    assert all(torch.equal(value, old) for value, old in zip(learner.values(), before, strict=True))
