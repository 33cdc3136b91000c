"""The export's file: what is written is read back, id by id, and nothing foreign or broken is taken for an export."""

import subprocess
import sys
from hashlib import md5
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings, EmbeddingsWriter, ExportedRelation, hash_ids, reader, writer
from artifacts.errors import DataError

DIMENSION = 3
ATTRIBUTES: dict[str, Any] = {
    "bias_against": [],
    "anchors": ("click",),
    "operator": "transra",
    "dimension": DIMENSION,
    "similarity": "cos",
    "scale": 20.0,
    "config_hash": "abc",
    "run_id": "r1",
    "metrics": {"evaluate": {"mrr": 0.5}},
}
AWKWARD = ["", " ", "a\tb", "line\nbreak", 'quo"te', "it's", "\x00", "\x00\x00", "🙂", "ü", "u\u0308", "x" * 100_000]


def write(path: Path, ids: list[str], vectors: NDArray[Any], **attributes: Any) -> Embeddings:
    """Writes one type 'user' in blocks of two entities, with an empty type beside it, and opens the file."""
    path.unlink(missing_ok=True)
    with EmbeddingsWriter(path, {**ATTRIBUTES, **attributes}) as writer:
        table = writer.entities("user", len(ids), sum(len(id.encode()) for id in ids), str(vectors.dtype))
        for start in range(0, len(ids), 2):
            table.append(pa.array(ids[start : start + 2], pa.string()), vectors[start : start + 2])
        table.finish()
        writer.entities("empty", 0, 0, "float32").finish()
        matrix = np.arange(9, dtype=np.float32).reshape(3, 3)
        writer.relation(0, ExportedRelation("save", "user", "empty", "transra", {"projection": matrix}))
        writer.relation(1, ExportedRelation("click", "user", "user", "transra_anchor", {"translation": matrix[0]}))
    return Embeddings(path)


def random_vectors(count: int, dtype: str = "float32") -> NDArray[Any]:
    return np.random.default_rng(0).normal(size=(count, DIMENSION)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_everything_written_is_read_back(tmp_path: Path, dtype: str) -> None:
    vectors = random_vectors(len(AWKWARD), dtype)
    file = write(tmp_path / "e.h5", AWKWARD, vectors)
    assert file.types == ("empty", "user")
    assert file.vectors("user").dtype == dtype
    np.testing.assert_array_equal(file.vectors("user"), vectors)
    assert file.ids("user").to_pylist() == AWKWARD
    assert [file.id("user", row) for row in range(len(AWKWARD))] == AWKWARD
    assert file.attributes == {**ATTRIBUTES, "anchors": ["click"]}
    assert (file.count("empty"), file.rows("empty", ["a"]).tolist()) == (0, [-1])
    assert [relation.name for relation in file.relations] == ["save", "click"]
    assert file.relation("save").parameters["projection"].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert file.relation("click").operator == "transra_anchor"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_frame_is_the_vectors_by_id_without_a_copy(tmp_path: Path, dtype: str) -> None:
    file = write(tmp_path / "e.h5", AWKWARD, random_vectors(len(AWKWARD), dtype))
    frame = file.frame("user")
    assert frame.index.name == "id" and frame.index.to_list() == AWKWARD and set(frame.dtypes) == {np.dtype(dtype)}
    for row, id in enumerate(AWKWARD):
        np.testing.assert_array_equal(frame.loc[id], file.vectors("user")[row])
    assert np.shares_memory(frame.to_numpy(), file.vectors("user"))
    with pytest.raises(ValueError, match="read-only"):
        frame.to_numpy()[0, 0] = 1
    assert file.frame("empty").shape == (0, DIMENSION)
    with pytest.raises(DataError, match="entity type 'pin' is not in the export"):
        file.frame("pin")


def test_opening_does_not_import_pandas(tmp_path: Path) -> None:
    write(tmp_path / "e.h5", AWKWARD, random_vectors(len(AWKWARD)))
    code = (
        "import sys; from pathlib import Path; from artifacts.embeddings import Embeddings; "
        "Embeddings(Path(sys.argv[1])).vectors('user').sum(); "
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "e.h5")], check=True, cwd=Path(__file__).parents[2])


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.text(), unique=True, max_size=20), others=st.lists(st.text(), max_size=20))
def test_every_id_finds_its_row(tmp_path: Path, ids: list[str], others: list[str]) -> None:
    file = write(tmp_path / "e.h5", ids, random_vectors(len(ids)))
    expected = {id: row for row, id in enumerate(ids)}
    assert file.rows("user", ids + others).tolist() == [expected.get(id, -1) for id in ids + others]


def test_ids_come_as_lists_numpy_and_arrow(tmp_path: Path) -> None:
    file = write(tmp_path / "e.h5", ["a", "b", "c"], random_vectors(3))
    asked = ["c", "nobody", "a"]
    forms = [asked, np.array(asked), np.array(asked, object), pa.array(asked), pa.chunked_array([asked[:1], asked[1:]])]
    for form in [*forms, pa.array(asked).dictionary_encode()]:
        assert file.rows("user", form).tolist() == [2, -1, 0]
    assert file.rows("user", [None, "b"]).tolist() == [-1, 1]
    assert file.rows("user", []).tolist() == []


def test_a_hash_collision_cannot_return_another_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reader, writer):
        monkeypatch.setattr(
            module, "hash_ids", lambda ids: np.array([len(id or "") for id in ids.to_pylist()], np.uint64)
        )
    file = write(tmp_path / "e.h5", ["aa", "b", "bb", "a", "cc"], random_vectors(5))
    assert file.rows("user", ["cc", "aa", "dd", "d", "a", "bb", "long"]).tolist() == [4, 0, -1, -1, 3, 2, -1]


def test_the_hash_is_the_lower_half_of_md5() -> None:
    expected = [int.from_bytes(md5(id.encode()).digest()[8:], "little") for id in AWKWARD]
    assert hash_ids(pa.array(AWKWARD)).tolist() == expected


def test_arrays_are_mapped_not_read(tmp_path: Path) -> None:
    file = write(tmp_path / "e.h5", ["a", "b"], random_vectors(2))
    vectors = file.vectors("user")
    assert isinstance(vectors, np.memmap) and isinstance(vectors.base, np.memmap)
    assert not vectors.flags.writeable and vectors.flags.aligned
    with h5py.File(file.path, "r+", locking=False) as raw:  # readers hold what they have mapped
        raw["entities/user/vectors"][1] = 7
    assert vectors[1].tolist() == [7, 7, 7]


def test_many_ids_are_looked_up_at_once(tmp_path: Path) -> None:
    count = 1_000_000
    ids = pa.array([f"u{i}" for i in range(count)])
    with EmbeddingsWriter(tmp_path / "e.h5", ATTRIBUTES) as writer:
        table = writer.entities("user", count, sum(map(len, ids.to_pylist())), "float16")
        table.append(ids, np.zeros((count, DIMENSION), np.float16))
        table.finish()
    order = np.random.default_rng(0).permutation(count)
    assert (Embeddings(tmp_path / "e.h5").rows("user", ids.take(pa.array(order))) == order).all()


def test_large_metrics_fit(tmp_path: Path) -> None:
    metrics = {f"relation {index}": "x" * 1000 for index in range(1000)}
    assert write(tmp_path / "e.h5", ["a"], random_vectors(1), metrics=metrics).attributes["metrics"] == metrics


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path / "e.h5", [f"u{i}" for i in range(1000)], random_vectors(1000)).path
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(DataError, match=r"e\.h5: expected a whole export") as caught:
        Embeddings(path)
    assert len(str(caught.value).splitlines()) == 1


def test_degrees_are_read_back_and_must_fit(tmp_path: Path) -> None:
    path, degrees = tmp_path / "d.h5", np.arange(6, dtype=np.int32).reshape(3, 2)
    assert write(tmp_path / "e.h5", ["a"], random_vectors(1)).degrees("user") is None, "they are optional"
    with EmbeddingsWriter(path, ATTRIBUTES) as writer:
        table = writer.entities("user", 3, 3, "float32", ("click:lhs", "save:lhs"))
        for rows in (slice(0, 1), slice(1, 3)):
            table.append(pa.array(["a", "b", "c"][rows]), random_vectors(3)[rows], degrees[rows])
        table.finish()
    found = Embeddings(path)
    assert found.degree_names("user") == ("click:lhs", "save:lhs")
    np.testing.assert_array_equal(found.degrees("user"), degrees)
    del found  # readers hold what they have mapped
    with h5py.File(path, "r+") as file:
        file["entities/user/degrees"].attrs["names"] = '["click:lhs"]'
    with pytest.raises(DataError, match="its degrees do not fit its vectors"):
        Embeddings(path)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("hello")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["embeddings"] = np.zeros((2, 2))
    future = write(tmp_path / "future.h5", ["a"], random_vectors(1)).path
    with h5py.File(future, "r+") as file:
        file.attrs["format_version"] = 2
    for name in ("text.h5", "other.h5", "future.h5", "absent.h5"):
        with pytest.raises(DataError, match=f"{name}: expected a whole export, version 1"):
            Embeddings(tmp_path / name)


def test_unknown_names_and_unfinished_types_are_errors(tmp_path: Path) -> None:
    file = write(tmp_path / "e.h5", ["a"], random_vectors(1))
    with pytest.raises(DataError, match="entity type 'usr' is not in the export"):
        file.vectors("usr")
    with pytest.raises(DataError, match="relation 'buy'"):
        file.relation("buy")
    with EmbeddingsWriter(tmp_path / "f.h5", ATTRIBUTES) as writer, pytest.raises(ValueError, match="0 of 3"):
        writer.entities("user", 3, 9, "float32").finish()


def test_relations_lie_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """As text 10 comes before 2: whoever iterates with h5py would take the wrong relation. Earlier files did so."""
    names = [f"relation {index}" for index in range(12)]
    with EmbeddingsWriter(tmp_path / "e.h5", ATTRIBUTES) as writer:
        for index, name in enumerate(names):
            writer.relation(index, ExportedRelation(name, "user", "user", "transra_anchor", {}))
    with h5py.File(tmp_path / "e.h5") as file:
        assert [str(group.attrs["name"]) for group in file["relations"].values()] == names
        assert list(file["relations"]) == [str(index) for index in range(12)]
    assert [relation.name for relation in Embeddings(tmp_path / "e.h5").relations] == names
    with h5py.File(tmp_path / "e.h5", "r+") as file:  # as version 0.1.0 wrote it
        earlier = file.create_group("earlier")
        for index in range(12):
            file.copy(f"relations/{index}", earlier)
        del file["relations"]
        file.move("earlier", "relations")
        assert list(file["relations"])[:3] == ["0", "1", "10"]
    assert [relation.name for relation in Embeddings(tmp_path / "e.h5").relations] == names


def test_a_file_from_before_biases_has_none(tmp_path: Path) -> None:
    write(tmp_path / "e.h5", ["a"], random_vectors(1))
    with h5py.File(tmp_path / "e.h5", "a") as file:
        del file.attrs["bias_against"]
    assert Embeddings(tmp_path / "e.h5").attributes["bias_against"] == []
