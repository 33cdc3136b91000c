"""Export and neighbours: a checkpoint written by PBG's own code comes out in every format, row for row."""

import csv
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from torchbiggraph.checkpoint_manager import CheckpointManager
from torchbiggraph.config import ConfigSchema

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError, DataError
from artifacts.formats.graph import EntityType, Graph, Relation, edge_path, ids_path, load_graph, save_graph
from artifacts.neighbors import neighbors
from pbg_transra.config import ExportConfig, ModelConfig
from pbg_transra.export import blocks as module
from pbg_transra.export.export import export_embeddings
from pbg_transra.known import keep_known
from pbg_transra.pbg.checkpoint import Checkpoint
from pbg_transra.pbg.operators import TiedOperator
from pbg_transra.reports import ExportReport

D = 4
IDS = {"user": [["u0", "tab\there", "🙂"], ["u3", "back\\slash"]], "pin": [["p0", "", "p2", "p3"]]}
EDGES = {"train": 1, "valid": 0, "test": 0}
# Of each bucket, training edges (relation, lhs, rhs).
TRAIN = {(0, 0): [(0, 0, 1), (0, 0, 1), (1, 0, 3), (1, 2, 3)], (1, 0): [(0, 1, 1)]}
TRAINED = {"user": [[True, False, True], [False, True]], "pin": [[False, True, False, True]]}  # by TRAIN
MODEL = ModelConfig(operator="transra", anchors=("click",), dimension=D)
ATTRIBUTES = {"config_hash": "h", "run_id": "r", "metrics": {}}


def write_graph(directory: Path) -> None:
    types = tuple(EntityType(name, tuple(len(part) for part in parts)) for name, parts in IDS.items())
    relations = (Relation("click", "user", "pin", "onsite", EDGES), Relation("sa\tve", "user", "pin", "onsite", EDGES))
    for name, parts in IDS.items():
        for index, part in enumerate(parts):
            path = ids_path(directory, name, index)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"id": pa.array(part, pa.string())}), path, row_group_size=2)
    save_graph(directory, Graph(types, relations, {}, (None, None)))
    edge_path(directory, "train").mkdir(parents=True)
    for (i, j), edges in TRAIN.items():
        with h5py.File(edge_path(directory, "train") / f"edges_{i}_{j}.h5", "w") as file:
            for name, column in zip(("rel", "lhs", "rhs"), np.array(edges).T, strict=True):
                file[name] = column


def write_checkpoint(directory: Path, vectors: dict[str, list[NDArray[Any]]]) -> TiedOperator:
    """Writes `vectors` as version 1 through PBG's own manager; returns the operator of relation 1."""
    operator = TiedOperator(D)
    torch.nn.init.normal_(operator.projection)
    manager = CheckpointManager(str(directory))
    for name, parts in vectors.items():
        for index, part in enumerate(parts):
            manager.write(name, index, torch.from_numpy(part), None)
    state = {f"rhs_operators.1.{name}": values.detach() for name, values in operator.named_parameters()}
    manager.write_model({"rhs_operators.0.translation": torch.ones(D), **state}, None)
    manager.write_new_version(_pbg_config(directory))
    manager.switch_to_new_version()
    manager.close()
    return operator


def _pbg_config(directory: Path) -> ConfigSchema:
    entities = {name: {"num_partitions": len(parts)} for name, parts in IDS.items()}
    relations = [{"name": "click", "lhs": "user", "rhs": "pin", "operator": "none"}]
    return ConfigSchema.from_dict(
        {
            "entities": entities,
            "relations": relations,
            "dimension": D,
            "entity_path": "unused",
            "edge_paths": ["unused"],
            "checkpoint_path": str(directory),
        }
    )


def random_vectors() -> dict[str, list[NDArray[Any]]]:
    rng = np.random.default_rng(1)
    return {name: [rng.normal(size=(len(p), D)).astype(np.float32) for p in parts] for name, parts in IDS.items()}


def exported(vectors: dict[str, list[NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """What the file holds, by type: zeros of entities without a training edge."""
    return {
        name: np.concatenate(parts) * np.concatenate(TRAINED[name])[:, None].astype(np.float32)
        for name, parts in vectors.items()
    }


def ids_of(name: str) -> list[str]:
    """Of a type's trained entities, in row order."""
    return [id for id, known in zip(sum(IDS[name], []), sum(TRAINED[name], []), strict=True) if known]


def run(tmp_path: Path, export: ExportConfig | None = None, model: ModelConfig = MODEL) -> ExportReport:
    (tmp_path / "out").mkdir()
    paths = (tmp_path / "graph", tmp_path / "model", tmp_path / "out")
    return export_embeddings(*paths, model, export or ExportConfig(), ATTRIBUTES, lambda label, fraction: None)


@pytest.fixture
def vectors(tmp_path: Path) -> dict[str, list[NDArray[Any]]]:
    write_graph(tmp_path / "graph")
    vectors = random_vectors()
    write_checkpoint(tmp_path / "model", vectors)
    return vectors


@pytest.mark.parametrize("block_rows", [1, 3, 1 << 16])
def test_rows_follow_partition_and_offset(
    tmp_path: Path, vectors: dict[str, list[NDArray[Any]]], block_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", block_rows)
    report = run(tmp_path)
    file = Embeddings(tmp_path / "out" / "embeddings.h5")
    for name, parts in IDS.items():
        assert file.ids(name).to_pylist() == sum(parts, [])
        np.testing.assert_array_equal(file.vectors(name), exported(vectors)[name])
    assert report == ExportReport(9, 4, (tmp_path / "out" / "embeddings.h5").stat().st_size)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["embeddings.h5"]


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_degrees_count_training_edges_by_relation_and_side(
    tmp_path: Path, vectors: dict[str, list[NDArray[Any]]], monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("pbg_transra.degrees.CHUNK", chunk)
    run(tmp_path)
    found = Embeddings(tmp_path / "out/embeddings.h5")
    assert found.degree_names("user") == ("click:lhs", "sa\tve:lhs")
    assert found.degree_names("pin") == ("click:rhs", "sa\tve:rhs")
    np.testing.assert_array_equal(found.degrees("user"), [[2, 1], [0, 0], [0, 1], [0, 0], [1, 0]])
    np.testing.assert_array_equal(found.degrees("pin"), [[0, 0], [3, 0], [0, 0], [0, 2]])


def test_an_export_can_leave_degrees_out(tmp_path: Path, vectors: dict[str, list[NDArray[Any]]]) -> None:
    run(tmp_path, ExportConfig(degrees=False))
    found = Embeddings(tmp_path / "out/embeddings.h5")
    assert found.degrees("user") is None and found.degree_names("user") == ()


def test_a_type_in_many_relations_has_a_degree_for_each_side(
    tmp_path: Path, vectors: dict[str, list[NDArray[Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbg_transra.degrees.MOST", 1)
    run(tmp_path)
    found = Embeddings(tmp_path / "out/embeddings.h5")
    assert found.degree_names("user") == ("lhs",) and found.degree_names("pin") == ("rhs",)
    np.testing.assert_array_equal(found.degrees("user"), [[3], [0], [1], [0], [1]])
    np.testing.assert_array_equal(found.degrees("pin"), [[0], [3], [0], [2]])


def test_relations_come_out_as_matrices(tmp_path: Path) -> None:
    write_graph(tmp_path / "graph")
    operator = write_checkpoint(tmp_path / "model", random_vectors())
    run(tmp_path)
    file = Embeddings(tmp_path / "out" / "embeddings.h5")
    projection = file.relation("sa\tve").parameters["projection"]
    np.testing.assert_array_equal(projection, operator.projections()[0].detach().numpy())
    assert file.relation("click").parameters["translation"].tolist() == [1] * D
    assert (file.relation("click").operator, file.relation("sa\tve").operator) == ("transra_anchor", "transra")
    assert (file.attributes["anchors"], file.attributes["scale"]) == (["click"], MODEL.scale)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_parquet_and_tsv_say_the_same(tmp_path: Path, vectors: dict[str, list[NDArray[Any]]], dtype: Any) -> None:
    run(tmp_path, ExportConfig(formats=("hdf5", "parquet", "tsv"), dtype=dtype))
    expected = {name: values.astype(dtype) for name, values in exported(vectors).items()}
    for name, values in expected.items():
        table = pq.read_table(tmp_path / "out" / f"{name}.parquet")
        assert table["id"].to_pylist() == ids_of(name), "who was never trained has no row"
        of_trained = values[np.concatenate(TRAINED[name])]
        np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), dtype), of_trained)
        np.testing.assert_array_equal(Embeddings(tmp_path / "out" / "embeddings.h5").vectors(name), values)
        assert str(table.schema.field("event_timestamp").type) == "timestamp[us, tz=UTC]"
    with (tmp_path / "out" / "entities.tsv").open(newline="") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [line[0] for line in lines] == ["u0", "🙂", "back\\\\slash", "", "p3"]
    every = np.concatenate([values[np.concatenate(TRAINED[name])] for name, values in expected.items()]).astype(float)
    np.testing.assert_allclose(np.array([line[1:] for line in lines], float), every, atol=1e-9)
    relations = [line.split("\t") for line in (tmp_path / "out" / "relations.tsv").read_text().splitlines()]
    keys = [("click", "rhs", "transra_anchor", "translation", "4"), ("sa\\tve", "rhs", "transra", "projection", "16")]
    assert [tuple(line[:5]) for line in relations[:2]] == keys
    assert [len(line) for line in relations] == [5 + D, 5 + D * D, 5 + D]


@pytest.mark.parametrize("last", [1_700_000_000, 0, None])
def test_parquet_tells_when_its_vectors_were_learned(
    tmp_path: Path, vectors: dict[str, list[NDArray[Any]]], last: int | None
) -> None:
    """The last training event, so that a join by time finds nothing of a later day; without times, the export's."""
    graph = load_graph(tmp_path / "graph")
    save_graph(tmp_path / "graph", replace(graph, window=(None if last is None else 0, last)))
    before = datetime.now(timezone.utc)
    run(tmp_path, ExportConfig(formats=("hdf5", "parquet")))
    for name in vectors:
        (moment,) = set(pq.read_table(tmp_path / "out" / f"{name}.parquet")["event_timestamp"].to_pylist())
        if last is None:
            assert before <= moment <= datetime.now(timezone.utc)
        else:
            assert moment.timestamp() == last


def test_a_checkpoint_of_another_graph_is_refused(tmp_path: Path, vectors: dict[str, list[NDArray[Any]]]) -> None:
    with pytest.raises(DataError, match="another graph.*'user', partition 0: found 3 vectors of length 4, expected"):
        run(tmp_path, model=MODEL.model_copy(update={"dimension": 8}))


@pytest.mark.parametrize("text", [None, "", "0\n", "x"])
def test_an_uncommitted_checkpoint_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "checkpoint_version.txt").write_text(text)
    with pytest.raises(DataError, match=r"checkpoint_version\.txt: expected the number of a committed checkpoint"):
        Checkpoint(tmp_path)


def test_a_nan_is_named_by_type_and_id(tmp_path: Path, vectors: dict[str, list[NDArray[Any]]]) -> None:
    with h5py.File(tmp_path / "model" / "embeddings_user_1.v1.h5", "r+") as file:
        file["embeddings"][1, 2] = np.nan
    with pytest.raises(DataError, match=r"type 'user', id 'back\\\\slash' \(partition 1, offset 1\)"):
        run(tmp_path)


def test_a_component_too_large_for_float16_is_refused(tmp_path: Path, vectors: dict[str, list[NDArray[Any]]]) -> None:
    with h5py.File(tmp_path / "model" / "embeddings_pin_0.v1.h5", "r+") as file:
        file["embeddings"][1, 0] = 1e6
    with pytest.raises(DataError, match="'pin': a component exceeds float16"):
        run(tmp_path, ExportConfig(dtype="float16"))


@pytest.mark.parametrize("similarity", ["cos", "dot", "l2", "squared_l2"])
@pytest.mark.parametrize("to_type", ["user", "pin"])
def test_neighbors_are_those_of_brute_force(
    tmp_path: Path, vectors: dict[str, list[NDArray[Any]]], similarity: Any, to_type: str
) -> None:
    run(tmp_path, model=MODEL.model_copy(update={"similarity": similarity}))
    query, others = vectors["user"][1][1].astype(float), exported(vectors)[to_type].astype(float)
    scores = {
        "cos": others @ query / np.maximum(np.linalg.norm(others, axis=1), 1e-9) / np.linalg.norm(query),
        "dot": others @ query,
        "l2": -np.linalg.norm(others - query, axis=1),
        "squared_l2": -(np.linalg.norm(others - query, axis=1) ** 2),
    }[similarity]
    ids = sum(IDS[to_type], [])
    own, known = "back\\slash", sum(TRAINED[to_type], [])
    allowed = [row for row in range(len(ids)) if known[row] and ids[row] != own]
    expected = sorted(((ids[row], scores[row]) for row in allowed), key=lambda n: -n[1])
    found = neighbors(Embeddings(tmp_path / "out" / "embeddings.h5"), "user", own, 3, to_type)
    assert [neighbor.id for neighbor in found] == [id for id, _ in expected[:3]]
    np.testing.assert_allclose([neighbor.similarity for neighbor in found], [s for _, s in expected[:3]], rtol=1e-4)


@pytest.mark.parametrize("degrees", [True, False])
def test_who_was_never_trained_has_no_vector(
    tmp_path: Path, vectors: dict[str, list[NDArray[Any]]], degrees: bool
) -> None:
    """Random values are not to be mistaken for what a graph says: unknown by id, and nobody's neighbour."""
    run(tmp_path, ExportConfig(degrees=degrees))
    file = Embeddings(tmp_path / "out" / "embeddings.h5")
    for name in IDS:
        known = np.concatenate(TRAINED[name])
        np.testing.assert_array_equal(file.trained(name), known)
        np.testing.assert_array_equal(file.rows(name, file.ids(name)) >= 0, known)
        near = {one.id for one in file.neighbors("user", ["u0"], k=9, to=name)[0]}
        assert near == set(ids_of(name)) - {"u0"}
    with pytest.raises(DataError, match="entity type 'user' has no training edge, so no vector, of id 'u3'"):
        file.neighbors("user", ["u3"])


def test_who_was_known_before_keeps_a_vector_without_an_edge(
    tmp_path: Path, vectors: dict[str, list[NDArray[Any]]]
) -> None:
    keep_known(tmp_path / "model", "user", 1, np.array([True, False]))
    assert run(tmp_path).untrained == 3
    file = Embeddings(tmp_path / "out" / "embeddings.h5")
    np.testing.assert_array_equal(file.vectors("user")[file.rows("user", ["u3"])[0]], vectors["user"][1][0])


def test_heads_without_an_edge_ask_by_their_constant(tmp_path: Path, vectors: dict[str, list[NDArray[Any]]]) -> None:
    run(tmp_path, model=MODEL.model_copy(update={"similarity": "dot", "tail_bias": True}))
    file = Embeddings(tmp_path / "out" / "embeddings.h5")
    expected = exported(vectors)
    expected["user"][:, 0] = np.concatenate(vectors["user"])[:, 0]
    for name in IDS:
        np.testing.assert_array_equal(file.vectors(name), expected[name])
        np.testing.assert_array_equal(file.trained(name), np.concatenate(TRAINED[name]))


def test_neighbors_of_unknown_names(tmp_path: Path, vectors: dict[str, list[NDArray[Any]]]) -> None:
    run(tmp_path)
    file = Embeddings(tmp_path / "out" / "embeddings.h5")
    with pytest.raises(ConfigError, match="unknown entity type 'usr', did you mean 'user'"):
        neighbors(file, "usr", "u0", 1, "pin")
    with pytest.raises(DataError, match="entity type 'user' has no id 'nobody'"):
        neighbors(file, "user", "nobody", 1, "pin")
