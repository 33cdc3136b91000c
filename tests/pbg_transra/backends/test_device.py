"""A device's backend, on the CPU device everywhere and on a card where there is one: the same tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pbg_transra.training.train
from artifacts.errors import ConfigError, ResourceError
from artifacts.formats.graph import load_graph
from pbg_transra.backends import choice
from pbg_transra.backends.adagrad import EPSILON, HogwildAdagrad
from pbg_transra.backends.backend import Capacity, Rates, Resident, Segment
from pbg_transra.backends.device.adagrad import added_up, step_components_, step_rows_
from pbg_transra.backends.device.backend import DeviceBackend
from pbg_transra.backends.device.copies import Copies
from pbg_transra.backends.device.relations import DeviceRelations
from pbg_transra.backends.device.room import device_bytes
from pbg_transra.backends.device.sorted_edges import Plan, Planned
from pbg_transra.backends.device.step import EAGER
from pbg_transra.backends.device.tables import DeviceTables
from pbg_transra.backends.device.trainer import Trainer
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.fused.batches import Batch
from pbg_transra.backends.fused.processor import kinds_of
from pbg_transra.backends.fused.relations import Relations
from pbg_transra.backends.tail_bias import CONSTANT, constant_types
from pbg_transra.config import ModelConfig
from pbg_transra.reports import BucketDone, Diverged, TrainReport
from pbg_transra.training.train import train
from tests.pbg_transra.backends.test_fused import Case, Drawn, cases, graph, reference_loss, tables
from tests.pbg_transra.training.test_swapping import Killed, assert_equal, vectors_of
from tests.worlds.small_graphs import Triples, block_graph, write_graph

NO_CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=NO_CARD)]
CONFIG = ModelConfig(anchors=("click",), dimension=8, scale=10, epochs=3, workers=1, batch_size=100)
on_devices = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(scope="module")
def graph_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("graph")
    block_graph(directory, partitions=4)
    return directory


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets training run on a device, whatever the config says."""

    def choose(device: str) -> None:
        monkeypatch.setattr(
            pbg_transra.training.train,
            "make_backend",
            lambda graph, config, workers, chosen: DeviceBackend(graph, config, torch.device(device)),
        )

    return choose


def trained(
    graph_dir: Path, model_dir: Path, config: ModelConfig, on_bucket: Callable[[BucketDone], None] = lambda done: None
) -> tuple[TrainReport, dict[str, np.ndarray]]:
    model_dir.mkdir(exist_ok=True)
    report = train(graph_dir, model_dir, config, lambda progress: None, on_bucket)
    return report, vectors_of(model_dir, load_graph(graph_dir))


@on_devices
@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 200), distinct=st.integers(1, 9), seed=st.integers(0, 99))
def test_gradients_of_a_row_are_added_up_once(device: str, count: int, distinct: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(distinct, (count,), generator=generator).to(device)
    gradients = torch.randn(count, 5, generator=generator, dtype=torch.double).to(device)
    expected = torch.zeros(distinct, 5, dtype=torch.double, device=device).index_add_(0, rows, gradients)
    places, sums = added_up(rows, gradients)
    found = torch.zeros_like(expected).index_add_(0, places, sums)
    torch.testing.assert_close(found, expected)
    assert int(sums.any(1).sum()) == len(rows.unique())
    for step, square in ((step_rows_, (expected**2).mean(1)), (step_components_, expected**2)):
        table, before = torch.ones_like(expected), torch.full_like(square, 2.0)
        after, rate = before.clone(), torch.tensor(0.1, dtype=torch.double, device=device)
        step(table, after, rows, gradients, rate)
        divisor = (before + square).sqrt() + EPSILON
        torch.testing.assert_close(after, before + square)
        torch.testing.assert_close(table, 1 - 0.1 * expected / divisor.view(distinct, -1))


class OnDevice:
    """A case's model on a device, and on the host, where autograd says what a batch has to do to it."""

    def __init__(self, case: Case, device: str) -> None:
        self.case, self.model, self.device = case, case.model, torch.device(device)
        operators, kinds = list(self.model.rhs_operators), graph([r.rhs for r in self.model.relations]).entity_types
        self.optimizer = HogwildAdagrad(self.model.parameters(), lr=0.1)
        self.tables = DeviceTables(kinds, case.config.dimension, {kind.name: 1 for kind in kinds}, self.device)
        self.relations = DeviceRelations(Relations(operators, self.optimizer), self.device)
        self.copies, self.residents = Copies(self.device), [Resident(kind.name, 0, 0) for kind in kinds]
        for total in self.optimizer.sums.values():
            total.fill_(1)  # where a gradient cancels, what rounding leaves of it stays small
        self.relations.take(self.copies)
        self.tables.sums.fill_(1)
        for resident in self.residents:
            self.tables.partition(resident)[0].copy_(self.vectors(resident.entity).detach())
        of_relations = kinds_of(self.model, operators)
        self.trainer = Trainer(self.model.relations, of_relations, self.tables, self.relations, case.config, True)

    def vectors(self, entity: str) -> nn.Parameter:
        found: nn.Parameter = self.model.lhs_embs[f"emb_{entity}"].weight
        return found

    def begin(self) -> Plan:
        edges = {name: each if each is None else each.to(self.device) for name, each in vars(self.case.edges).items()}
        segment = Segment(tuple(self.residents), tuple(self.residents), 0, 0, len(self.case.edges), 3, Rates(0.1, 0.05))
        spans = self.tables.spans(segment, self.model.relations)
        return self.trainer.begin(Edges(**edges), spans, segment.rates, segment.seed)

    def check(self, planned: Planned, plan: Plan) -> None:
        """Trains a batch, and compares everything that it moves."""
        self.model.zero_grad()
        before = self.trainer.memory.loss.item()
        step = self.trainer.step(planned, plan)
        batch = self.batch(planned, plan)
        draws = step.draws.cpu().view(2, batch.layout.groups, batch.layout.uniform)
        heads, tails = (draws[side] % len(table) for side, table in enumerate(tables(batch, self.model)))
        expected = reference_loss(self.case, batch, Drawn(heads, tails))
        expected.backward()
        assert self.trainer.memory.loss.item() - before == pytest.approx(expected.item(), rel=1e-6, abs=1e-8)
        self.check_vectors()
        self.check_relations()

    def batch(self, planned: Planned, plan: Plan) -> Batch:
        """What was trained, by rows of its partitions."""
        starts, lengths, relations, _ = plan.groups[:, planned.groups].cpu().numpy()
        edges = self.trainer.memory.edges.edges
        assert edges is not None and edges.decays is not None
        begins = self.trainer.memory.spans.begins.cpu()[:, relations[0]]
        rows = edges.heads.cpu() - begins[0], edges.tails.cpu() - begins[1]
        weights = None if edges.weights is None else edges.weights.cpu()
        of_table = Edges(*rows, edges.relations.cpu(), weights, edges.decays.cpu())
        return Batch(planned.layout, of_table, starts, lengths, relations)

    def check_vectors(self) -> None:
        held = constant_types(self.model.relations, self.case.config)
        for resident in self.residents:
            parameter = self.vectors(resident.entity)
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.to_dense()
            if resident.entity in held:
                gradient[:, 0] = 0
            total = self.optimizer.sums[parameter][:, 0]  # the host's optimiser has one of each component
            total += gradient.square().mean(1)
            parameter.data -= 0.1 * gradient / total.sqrt().unsqueeze(1)
            vectors, sums = (values.cpu() for values in self.tables.partition(resident))
            torch.testing.assert_close(sums, total, rtol=1e-6, atol=1e-7)
            torch.testing.assert_close(vectors, parameter.detach(), rtol=1e-6, atol=1e-7)

    def check_relations(self) -> None:
        expected = {}
        for name, parameter in self.model.rhs_operators.named_parameters():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            total = self.optimizer.sums[parameter] + gradient.square()
            expected[name] = parameter.detach() - 0.05 * gradient / total.sqrt(), total
        self.relations.bring_back(self.copies)
        for name, parameter in self.model.rhs_operators.named_parameters():
            found = parameter.detach(), self.optimizer.sums[parameter]
            torch.testing.assert_close(found, expected[name], rtol=1e-6, atol=1e-7)


@pytest.mark.usefixtures("double")
@on_devices
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_a_step_moves_everything_as_autograd_says(device: str, case: Case) -> None:
    trained = OnDevice(case, device)
    plan = trained.begin()
    assert sum(batch.edges for batch in plan.batches) == len(case.edges)
    for batch in plan.batches:
        trained.check(batch, plan)


@on_devices
@pytest.mark.parametrize(
    "changes",
    [{}, {"similarity": "dot", "scale": 1.0, "regularization": 0.1, "operator": "transr", "anchors": ()}],
)
def test_a_training_is_that_of_the_fused_kernels(
    device: str, changes: dict[str, Any], graph_dir: Path, tmp_path: Path, on_device: Callable[[str], None]
) -> None:
    """With batch negatives alone, both draw nothing but the order of batches."""
    values = {**CONFIG.model_dump(), "uniform_negatives": 0, "batch_negatives": 20, **changes}
    config = ModelConfig(**values)
    expected, vectors = trained(graph_dir, tmp_path / "processors", config)
    on_device(device)
    found, others = trained(graph_dir, tmp_path / "device", config)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert found.level == device
    for name in vectors:
        np.testing.assert_allclose(others[name], vectors[name], rtol=1e-3, atol=1e-4, err_msg=name)


@on_devices
def test_a_training_learns(device: str, graph_dir: Path, tmp_path: Path, on_device: Callable[[str], None]) -> None:
    config = CONFIG.model_copy(update={"epochs": 6})
    expected, _ = trained(graph_dir, tmp_path / "processors", config)
    on_device(device)
    first, _ = trained(graph_dir, tmp_path / "first", CONFIG.model_copy(update={"epochs": 1}))
    last, _ = trained(graph_dir, tmp_path / "last", config)
    assert last.loss < first.loss - 0.3
    assert last.loss == pytest.approx(expected.loss, rel=0.05)


@on_devices
@pytest.mark.parametrize("bucket", [0, 20])
def test_a_training_stopped_anywhere_ends_with_the_same_bytes(
    device: str, bucket: int, graph_dir: Path, tmp_path: Path, on_device: Callable[[str], None]
) -> None:
    """A snapshot after every segment; stopped after so many buckets (a pass has sixteen), then begun again."""
    on_device(device)
    _, uninterrupted = trained(graph_dir, tmp_path / "whole", CONFIG)
    config, seen = CONFIG.model_copy(update={"checkpoint_seconds": 1e-9, "overlap": bucket == 0}), []

    def stop(done: object) -> None:
        seen.append(done)
        if len(seen) > bucket:
            raise Killed

    with pytest.raises(Killed):
        trained(graph_dir, tmp_path / "m", config, stop)
    assert_equal(trained(graph_dir, tmp_path / "m", config)[1], uninterrupted)


@on_devices
def test_weights_of_edges_and_bias_count(device: str, tmp_path: Path, on_device: Callable[[str], None]) -> None:
    """Half of the edges weigh nothing to speak of: as without them, but for what is drawn."""
    rows = np.arange(60)
    parts = [
        Triples("like", "train", rows, rows // 2, np.full(60, 1e3, np.float32)),
        Triples("like", "train", rows, rows // 2 + 30, np.full(60, 1e-3, np.float32)),
    ]
    write_graph(tmp_path, {"user": [60], "pin": [60]}, {"like": ("user", "pin")}, parts)
    on_device(device)
    config = ModelConfig(
        anchors=("like",), similarity="dot", scale=1, tail_bias=True, dimension=16, epochs=20, workers=1, batch_size=30
    )
    _, vectors = trained(tmp_path, tmp_path / "m", config)
    scores = vectors["user_0"] @ vectors["pin_0"].T
    assert (scores[rows, rows // 2] > scores[rows, rows // 2 + 30]).mean() > 0.9
    np.testing.assert_allclose(vectors["user_0"][:, 0], CONSTANT, err_msg="heads have a constant there")
    assert np.unique(vectors["pin_0"][:, 0]).size > 1


def opened(graph_dir: Path, device: str, config: ModelConfig, edges: int = 8) -> DeviceBackend:
    backend = DeviceBackend(load_graph(graph_dir), config, torch.device(device))
    backend.open(Capacity({"user": 2, "pin": 2}, 1, edges))
    return backend


@on_devices
def test_slots_hold_what_was_loaded_and_give_it_back(device: str, graph_dir: Path) -> None:
    backend = opened(graph_dir, device, CONFIG)
    residents = [Resident(kind, part, slot) for kind in ("user", "pin") for slot, part in ((0, 3), (1, 1))]
    for number, resident in enumerate(residents):
        backend.load(resident, lambda vectors, sums: (vectors.fill_(number), sums.fill_(-number)))  # noqa: B023  called at once
    for number, resident in enumerate(residents):
        vectors, sums = backend.read(resident)
        assert vectors.eq(number).all() and sums.eq(-number).all()
        assert len(vectors) == load_graph(graph_dir).entity_type(resident.entity).counts[resident.partition]
    backend.close()


@on_devices
@pytest.mark.parametrize("row", [-1, 15])
def test_a_row_that_a_partition_lacks_is_refused(device: str, row: int, graph_dir: Path) -> None:
    """In the one table it would be another partition's."""
    backend = opened(graph_dir, device, CONFIG)
    heads, tails = Resident("user", 0, 0), Resident("pin", 0, 0)
    for resident in (heads, tails):
        backend.load(resident, lambda vectors, sums: (vectors.fill_(1), sums.fill_(1)))
    backend.put_edges(0, 4, lambda into: (into.heads.zero_(), into.tails.zero_(), into.relations.zero_()))
    segment = Segment((heads,), (tails,), 0, 0, 4, 0, Rates(0.1, 0.1))
    assert backend.train(segment).result().edges == 4
    backend.put_edges(0, 4, lambda into: (into.heads.zero_(), into.heads[2:].fill_(row), into.tails.zero_()))
    with pytest.raises(IndexError, match=f"row {row} of a table of 15"):
        backend.train(segment).result()
    backend.close()


@on_devices
def test_divergence_names_relation_and_batch(device: str, graph_dir: Path) -> None:
    backend = opened(graph_dir, device, CONFIG)
    heads, tails = Resident("user", 0, 0), Resident("pin", 0, 0)
    for resident, value in ((heads, 1.0), (tails, float("nan"))):
        backend.load(resident, lambda vectors, sums: (vectors.fill_(value), sums.fill_(1)))  # noqa: B023  called at once
    backend.put_edges(0, 4, lambda into: (into.heads.zero_(), into.tails.zero_(), into.relations.fill_(1)))
    with pytest.raises(Diverged, match="relation 'save' has loss nan in batch 1"):
        backend.train(Segment((heads,), (tails,), 0, 0, 4, 0, Rates(0.1, 0.1))).result()
    backend.close()


@NO_CARD
def test_a_recorded_step_trains_what_an_eager_one_does(graph_dir: Path, tmp_path: Path, monkeypatch: Any) -> None:
    found = []
    for recorded in (True, False):
        monkeypatch.setattr(
            pbg_transra.training.train,
            "make_backend",
            lambda graph, config, *_: DeviceBackend(graph, config, torch.device("cuda"), recorded),  # noqa: B023  called at once
        )
        config = CONFIG.model_copy(update={"batch_size": 20, "epochs": 2 * EAGER})
        found.append(trained(graph_dir, tmp_path / str(recorded), config)[1])
    assert_equal(*found)


class Card:
    """A GPU of so many bytes, as far as the choice is concerned."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: free is not None)
        monkeypatch.setattr(choice, "free_bytes", lambda: free)


@pytest.mark.parametrize(
    ("device", "free", "expected"),
    [
        ("cpu", 1000, "cpu"),
        ("auto", 1000, "cuda"),
        ("auto", 99, "cpu"),
        ("auto", None, "cpu"),
        ("cuda", 100, "cuda"),
    ],
)
def test_auto_takes_a_card_that_is_there_and_large_enough(
    device: Any, free: int | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Card(monkeypatch, free)
    assert choice.chosen_device(CONFIG.model_copy(update={"device": device}), 100).type == expected


def test_a_card_that_is_asked_for_is_there_and_large_enough_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.model_copy(update={"device": "cuda"})
    Card(monkeypatch, None)
    with pytest.raises(ConfigError, match="model.device: 'cuda': torch .* sees no GPU here; expected 'cpu' or 'auto'"):
        choice.chosen_device(config, 100)
    Card(monkeypatch, 99)
    with pytest.raises(ResourceError, match="raise graph.partitions"):
        choice.chosen_device(config, 100)


def test_autograd_has_no_card() -> None:
    for changes in ({"processor": "reference"}, {"operator": "linear", "anchors": ()}):
        config = ModelConfig(**{**CONFIG.model_dump(), **changes, "device": "cuda"})
        assert [problem.path for problem in config.problems()] == [("device",)]
        assert choice.chosen_device(config.model_copy(update={"device": "auto"}), 0).type == "cpu"


def test_the_room_is_at_least_what_lies_there(graph_dir: Path) -> None:
    config, capacity = CONFIG.model_copy(update={"regularization": 0.1}), Capacity({"user": 2, "pin": 2}, 2, 1000)
    small, large = (
        device_bytes(load_graph(graph_dir), config.model_copy(update={"dimension": d}), capacity) for d in (8, 4096)
    )
    assert large - small > 2 * 25 * 4088 * 4, "two slots of either type"
    backend = opened(graph_dir, "cpu", config, 1000)
    assert small > backend._tables.vectors.nbytes + sum(each.heads.nbytes * 3 for each in backend._buffers)
    backend.close()
