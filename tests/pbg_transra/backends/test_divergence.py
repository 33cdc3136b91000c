"""A training that diverges: it says where, nothing of it is kept, and it goes on from the last whole checkpoint."""

from pathlib import Path

import pytest
import torch

import pbg_transra.backends.cpu
from artifacts.formats.graph import load_graph
from pbg_transra.backends.divergence import Diverged, require_finite
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.embedder import TransRAEmbedder, make_embedder
from pbg_transra.reports import BucketDone
from pbg_transra.training.checkpoint_files import CheckpointFiles
from pbg_transra.training.train import train
from tests.pbg_transra.training.test_swapping import Killed, assert_equal, trained, vectors_of
from tests.worlds.small_graphs import block_graph

CONFIG = ModelConfig(
    anchors=("click",), dimension=8, similarity="dot", scale=1, epochs=2, workers=1, batch_size=100, overlap=False
)


@pytest.mark.parametrize("processor", ["fused", pytest.param("reference", marks=pytest.mark.slow)])
def test_a_rate_that_blows_up_stops_with_its_place_and_keeps_the_last_checkpoint(
    tmp_path: Path, processor: str
) -> None:
    graph_dir, model_dir = tmp_path / "graph", tmp_path / "model"
    graph_dir.mkdir()
    model_dir.mkdir()
    block_graph(graph_dir)
    config = CONFIG.model_copy(update={"processor": processor})

    def stop(bucket: BucketDone) -> None:
        if bucket.pass_index == 1:
            raise Killed

    with pytest.raises(Killed):
        train(graph_dir, model_dir, config, lambda progress: None, stop)
    first = vectors_of(model_dir, load_graph(graph_dir))
    too_fast = config.model_copy(update={"lr": 1e30})
    place = r"epoch 2, bucket \(\d, \d\): relation '(click|save)' has loss (inf|nan|-inf) in batch \d+ of worker 0;"
    with pytest.raises(Diverged, match=place) as caught:
        trained(graph_dir, model_dir, too_fast)
    assert caught.value.exit_code == 65
    assert len(caught.value.lines) == 1
    assert_equal(vectors_of(model_dir, load_graph(graph_dir)), first)
    if processor == "fused":  # a lower rate goes on, and what blew up has left no trace
        found = trained(graph_dir, model_dir, config)
        (tmp_path / "once").mkdir()
        assert_equal(found, trained(graph_dir, tmp_path / "once", config))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("shape", [(5,), (5, 3)])
def test_one_value_that_is_not_finite_is_found(bad: float, shape: tuple[int, ...]) -> None:
    values = torch.full(shape, 3e38)  # so that their sum overflows, which is no harm
    require_finite("the table", values)
    values[3] = bad
    with pytest.raises(Diverged, match="the table has a NaN or an infinity in row 3"):
        require_finite("the table", values)


def test_a_table_with_a_nan_is_not_written(tmp_path: Path) -> None:
    files, vectors, sums = CheckpointFiles(tmp_path, {}), torch.ones(3, 2), torch.ones(3)
    files.save("user", 1, vectors, sums, 0.1)
    written = (tmp_path / "embeddings_user_1.v1.h5").read_bytes()
    vectors[2, 1] = float("nan")
    with pytest.raises(Diverged, match="vectors of type 'user', partition 1, has a NaN or an infinity in row 2"):
        files.save("user", 1, vectors, sums, 0.1)
    sums[0] = float("inf")
    with pytest.raises(Diverged, match="sums of type 'user', partition 1, has a NaN or an infinity in row 0"):
        files.save("user", 1, torch.ones(3, 2), sums, 0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings_user_1.v1.h5"]
    assert (tmp_path / "embeddings_user_1.v1.h5").read_bytes() == written


def test_a_relation_with_a_nan_is_not_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph_dir, model_dir = tmp_path / "graph", tmp_path / "model"
    graph_dir.mkdir()
    model_dir.mkdir()
    graph = block_graph(graph_dir)
    model: TransRAEmbedder = make_embedder(graph, CONFIG)
    monkeypatch.setattr(pbg_transra.backends.cpu, "make_embedder", lambda graph, config: model)
    edges = graph.edges("train")

    def spoil(bucket: BucketDone) -> None:
        if bucket.trained == edges:
            model.get_parameter("rhs_operators.1.translation").data[2] = float("nan")

    with pytest.raises(Diverged, match="epoch 1, bucket .*: the translation of relation 'save' has a NaN .* in row 2"):
        train(graph_dir, model_dir, CONFIG, lambda progress: None, spoil)
    assert not (model_dir / "checkpoint_version.txt").exists()
