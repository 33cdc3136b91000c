"""Neighbours at scale: what an index proposes is what a scan finds, and an index belongs to the vectors beside it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings, EmbeddingsWriter, index
from artifacts.errors import ConfigError, DataError
from pbg_transra.export.indexes import write_indexes
from tests.worlds.night_world import latest_of, transra, write_config, write_day

pytest.importorskip("faiss")
DIMENSION, COUNTS = 16, {"user": 3000, "pin": 500}
ATTRIBUTES = {
    "operator": "transra",
    "dimension": DIMENSION,
    "scale": 1.0,
    "anchors": [],
    "config_hash": "x",
    "run_id": "r",
}


def write_export(
    path: Path,
    similarity: str = "cos",
    seed: int = 0,
    bias_against: tuple[str, ...] = (),
    each: int = 1,
    untrained: str | None = None,
) -> Embeddings:
    """Vectors around some centres, as a training's are; one in `each` entities was trained, of a type none."""
    random, directory = np.random.default_rng(seed), path
    directory.mkdir()
    centres = random.normal(size=(20, DIMENSION))
    attributes = {**ATTRIBUTES, "similarity": similarity, "metrics": {}, "bias_against": list(bias_against)}
    with EmbeddingsWriter(directory / "embeddings.h5", attributes) as writer:
        for name, count in COUNTS.items():
            ids = pa.array([f"{name}{row}" for row in range(count)], pa.large_string())
            vectors = centres[random.integers(0, 20, count)] + 0.5 * random.normal(size=(count, DIMENSION))
            table = writer.entities(name, count, sum(map(len, ids.to_pylist())), "float32")
            table.append(ids, vectors.astype(np.float32), trained=(np.arange(count) % each == 0) & (name != untrained))
            table.finish()
    return Embeddings(directory / "embeddings.h5")


@pytest.fixture(params=["flat", "inverted file"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which kind of index the larger type gets."""
    monkeypatch.setattr(index, "FLAT", 1000 if request.param == "inverted file" else 10_000)
    return str(request.param)


def rows(found: list[list[Any]]) -> list[list[str]]:
    return [[neighbor.id for neighbor in near] for near in found]


@pytest.mark.parametrize("similarity", ["cos", "dot", "l2", "squared_l2"])
def test_an_index_finds_what_a_scan_finds(tmp_path: Path, kind: str, similarity: str) -> None:
    export = write_export(tmp_path / "e", similarity)
    facts = write_indexes(tmp_path / "e", lambda step, done: None)
    assert facts["user"]["kind"] == kind and facts["pin"]["kind"] == "flat"
    assert facts["user"]["recall"] >= index.WANTED and facts["pin"]["recall"] > 0.99
    ids = [f"user{row}" for row in range(0, 3000, 60)]
    for to in COUNTS:
        near, exact = (export.neighbors("user", ids, k=10, to=to, exact=how) for how in (False, True))
        same = np.mean([np.isin(one, other).mean() for one, other in zip(rows(near), rows(exact), strict=True)])
        assert same > 0.9, "of 50 others than recall was measured with"
        assert all(id not in found for id, found in zip(ids, rows(near), strict=True))
        by_id = [dict(found) for found in exact]
        for found, expected in zip(near, by_id, strict=True):
            scores = [neighbor.similarity for neighbor in found]
            assert scores == sorted(scores, reverse=True)
            assert all(expected.get(n.id, n.similarity) == pytest.approx(n.similarity, rel=1e-4) for n in found)


def test_an_index_finds_none_that_was_never_trained(tmp_path: Path, kind: str) -> None:
    """Zeros lie in the middle: without a filter, the nearest of many would be among them."""
    export = write_export(tmp_path / "e", "l2", each=2)
    assert write_indexes(tmp_path / "e", lambda step, done: None)["user"]["kind"] == kind
    for exact in (False, True):
        (near,) = export.neighbors("user", ["user10"], k=1499, exact=exact)
        assert {n.id for n in near} == {f"user{row}" for row in range(0, 3000, 2)} - {"user10"}


def test_where_nothing_was_trained_nothing_is_found(tmp_path: Path, kind: str) -> None:
    export = write_export(tmp_path / "e", "dot", untrained="user")
    assert write_indexes(tmp_path / "e", lambda step, done: None)["user"]["recall"] == 1
    for exact in (False, True):
        assert export.neighbors("pin", ["pin0"], to="user", k=5, exact=exact) == [[]]


def test_a_scan_of_many_is_that_of_each(tmp_path: Path) -> None:
    export = write_export(tmp_path / "e")
    together = export.neighbors("pin", ["pin1", "pin2", "pin3"], k=5, to="user", exact=True)
    assert rows(together) == [rows(export.neighbors("pin", [id], k=5, to="user"))[0] for id in ("pin1", "pin2", "pin3")]


def test_a_vector_asks_as_its_entity_does(tmp_path: Path, kind: str) -> None:
    export = write_export(tmp_path / "e")
    write_indexes(tmp_path / "e", lambda step, done: None)
    vector = export.vectors("pin")[3:4]
    (near,) = export.neighbors("user", vectors=vector, k=5)
    assert [n.id for n in near] == rows(export.neighbors("pin", ["pin3"], k=5, to="user"))[0]
    (own,) = export.neighbors("pin", vectors=vector, k=1)
    assert own[0].id == "pin3", "a vector leaves nobody out"
    for wrong in (vector[0], vector[:, :3], vector * np.nan):
        with pytest.raises(ConfigError, match=r"expected finite ones, \(Q, 16\)"):
            export.neighbors("pin", vectors=wrong)


def test_all_are_found_where_all_are_asked_for(tmp_path: Path, kind: str) -> None:
    export = write_export(tmp_path / "e")
    write_indexes(tmp_path / "e", lambda step, done: None)
    (near,) = export.neighbors("user", ["user5"], k=10_000)
    assert {n.id for n in near} == {f"user{row}" for row in range(3000)} - {"user5"}


def test_a_bias_is_no_part_of_what_asks(tmp_path: Path) -> None:
    export = write_export(tmp_path / "e", "dot", bias_against=("user",))
    write_indexes(tmp_path / "e", lambda step, done: None)
    assert export.queries("pin", np.array([1]))[0, 0] == 0 and export.queries("user", np.array([1]))[0, 0] != 0
    assert rows(export.neighbors("pin", ["pin1"])) == rows(export.neighbors("pin", ["pin1"], exact=True))


def test_an_index_of_other_vectors_or_ids_is_refused(tmp_path: Path) -> None:
    write_export(tmp_path / "a")
    write_indexes(tmp_path / "a", lambda step, done: None)
    other = write_export(tmp_path / "b", seed=1)
    for name in ("faiss.json", "user.faiss", "pin.faiss"):
        shutil.copy(tmp_path / "a" / name, tmp_path / "b" / name)
    with pytest.raises(DataError, match=r"user\.faiss: made from other vectors or ids"):
        other.neighbors("user", ["user1"])
    assert other.neighbors("user", ["user1"], exact=True)


@pytest.mark.parametrize("spoilt", ["missing", "cut", "other", "manifest"])
def test_a_broken_index_is_refused(tmp_path: Path, spoilt: str, kind: str) -> None:
    directory = tmp_path / "e"
    export = write_export(directory)
    write_indexes(directory, lambda step, done: None)
    path = directory / "user.faiss"
    if spoilt == "missing":
        path.unlink()
    elif spoilt == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif spoilt == "other":
        shutil.copy(directory / "pin.faiss", path)
    else:
        (directory / "faiss.json").write_text(json.dumps({"version": 1, "types": {"user": {"kind": 3}}}))
    with pytest.raises(DataError, match="faiss"):
        export.neighbors("user", ["user1"])


def test_without_faiss_an_index_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = write_export(tmp_path / "e")
    write_indexes(tmp_path / "e", lambda step, done: None)
    monkeypatch.setattr(index, "find_spec", lambda name: None)
    assert export.index("user") is None and len(export.neighbors("user", ["user1"])[0]) == 10
    write_day(tmp_path, 1)
    write_config(tmp_path, export={"formats": ["hdf5", "faiss"]})
    assert transra(tmp_path, "run") == 2, "before hours of work"


def test_the_command_asks_the_index_of_the_published_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_day(tmp_path, 1)
    write_config(tmp_path, export={"formats": ["hdf5", "faiss"]})
    assert transra(tmp_path, "run") == 0
    export = latest_of(tmp_path).directory("export")
    assert latest_of(tmp_path).metrics()["export"]["indexes"]["user"]["recall"] == 1.0
    first, second = Embeddings(export / "embeddings.h5").ids("user").to_pylist()[:2]

    def said(*asked: str) -> Any:
        capsys.readouterr()
        assert transra(tmp_path, "neighbors", "user", *asked) == 0
        return capsys.readouterr().out

    assert len(said(first, "--k", "3").splitlines()) == 3
    assert said(first) == said(first, "--exact")
    several = said(first, second, "--k", "2", "--to", "user", "--to", "pin").splitlines()
    assert [line.split()[0] for line in several[::5]] == [first, second] and len(several) == 10
    answers = json.loads(said(first, second, "--k", "2", "--to", "pin", "--json"))["answers"]
    assert [answer["id"] for answer in answers] == [first, second]
    assert {near["type"] for answer in answers for near in answer["neighbors"]} == {"pin"}
    vector = Embeddings(export / "embeddings.h5").vectors("user")[0]
    by_vector = said("--vector=" + ",".join(map(str, vector.tolist())), "--k", "1")
    assert by_vector.split()[1] == first
    for asked in (["user"], ["user", first, "--vector", "1"], ["user", "--vector", "1,2"]):
        assert transra(tmp_path, "neighbors", *asked) == 2
    (export / "user.faiss").write_bytes(b"nothing")
    assert transra(tmp_path, "neighbors", "user", first) == 65
    assert transra(tmp_path, "neighbors", "user", first, "--exact") == 0


def test_recall_is_stored_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no number of lists is enough, all are searched; what is stored is what a scan agrees to."""
    monkeypatch.setattr(index, "FLAT", 10)
    monkeypatch.setattr(index, "WANTED", 1.1)
    random: NDArray[Any] = np.random.default_rng(0).normal(size=(2000, DIMENSION)).astype(np.float32)
    for each in (1, 2):
        trained = np.arange(2000) % each == 0
        vectors = random * trained[:, None]  # as an export has them
        facts = index.build_index(vectors, np.arange(2000), "l2", trained, 0.1 * random[:50], tmp_path / "x.faiss")
        assert facts.probes == facts.lists > 0 and facts.recall > 0.99
