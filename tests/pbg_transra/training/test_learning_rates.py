"""Learning rates: how they fall, that both processors step with them, and that a resumed training follows them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from artifacts.formats.graph import EntityType, load_graph
from pbg_transra.backends.backend import Rates, Resident, Segment
from pbg_transra.backends.cpu import make_processor
from pbg_transra.backends.tables import Table, shared_edges
from pbg_transra.backends.workers import Bench
from pbg_transra.config import Decay, ModelConfig
from pbg_transra.pbg.embedder import make_embedder
from pbg_transra.reports import BucketDone
from pbg_transra.training.learning_rates import FACTORS, rates_at
from pbg_transra.training.train import train
from tests.pbg_transra.backends.test_fused_training import ROWS, world
from tests.pbg_transra.training.test_swapping import Killed, assert_equal, trained, vectors_of
from tests.worlds.small_graphs import block_graph


@pytest.mark.parametrize("schedule", FACTORS)
def test_rates_begin_with_the_configs_and_never_rise(schedule: Decay) -> None:
    config = ModelConfig(operator="transe", lr=0.2, relation_lr=0.02, schedule=schedule)
    rates = [rates_at(config, done) for done in np.linspace(0, 1, 11)]
    assert rates[0] == (0.2, 0.02)
    assert all(later <= earlier for earlier, later in zip(rates, rates[1:], strict=False))
    assert rates[5] == pytest.approx((0.2, 0.02) if schedule == "constant" else (0.1, 0.01))
    assert rates[10] == pytest.approx((0.2, 0.02) if schedule == "constant" else (0, 0), abs=1e-15)


@pytest.mark.parametrize("processor", ["fused", "reference"])
@pytest.mark.parametrize("rates", [Rates(0.1, 0), Rates(0, 0.1)])
def test_a_task_is_trained_at_its_own_rates(processor: str, rates: Rates) -> None:
    config = ModelConfig(operator="transr", dimension=4, batch_size=20, batch_negatives=10, processor=processor)
    model = make_embedder(world(1), config)
    tables = {name: Table.allocate(EntityType(name, (ROWS,)), config.dimension, 1) for name in ("user", "pin")}
    for table in tables.values():
        table.vectors.normal_(generator=torch.Generator().manual_seed(0))
    buffer = shared_edges(60, weighted=False, regularized=False)
    for rows in (buffer.heads, buffer.tails):
        rows.copy_(torch.randint(ROWS, (60,)))
    bench = Bench(make_processor(model, config, 1), tables, [buffer])
    parameters = torch.nn.utils.parameters_to_vector(model.rhs_operators.parameters()).clone()
    vectors = {name: table.vectors.clone() for name, table in tables.items()}
    heads, tails = ((Resident(name, 0, 0),) for name in ("user", "pin"))
    bench.do(Segment(heads, tails, 0, 0, 60, 0, rates), slice(0, 60))
    moved = {name: not torch.equal(table.vectors, vectors[name]) for name, table in tables.items()}
    assert moved == dict.fromkeys(tables, rates.entities > 0)
    now = torch.nn.utils.parameters_to_vector(model.rhs_operators.parameters())
    assert torch.equal(now, parameters) == (rates.relations == 0)


def test_a_resumed_training_follows_the_schedule_as_if_it_had_not_been_stopped(tmp_path: Path) -> None:
    graph_dir = tmp_path / "graph"
    graph_dir.mkdir()
    graph = block_graph(graph_dir, partitions=2)
    config = ModelConfig(
        anchors=("click",), dimension=8, epochs=2, workers=1, batch_size=100, schedule="cosine", checkpoint_seconds=1e-9
    )
    done: list[BucketDone] = []
    (tmp_path / "once").mkdir()
    train(graph_dir, tmp_path / "once", config, lambda progress: None, done.append)
    total = 2 * graph.edges("train")
    assert [bucket.lr for bucket in done] == [
        rates_at(config, (bucket.trained - bucket.edges) / total).entities for bucket in done
    ]
    assert len({bucket.lr for bucket in done}) == 2 * 4

    def stop(bucket: BucketDone) -> None:
        if bucket.trained == done[5].trained:
            raise Killed

    (tmp_path / "twice").mkdir()
    with pytest.raises(Killed):
        train(graph_dir, tmp_path / "twice", config, lambda progress: None, stop)
    assert_equal(trained(graph_dir, tmp_path / "twice", config), vectors_of(tmp_path / "once", load_graph(graph_dir)))
