"""What is said of two exports: rotations are seen through, noise is not, ids decide and not rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings, EmbeddingsWriter
from artifacts.neighbors import neighbors
from pbg_transra.export import stability as module
from pbg_transra.export.stability import nearest, stability

D = 8
Vectors = NDArray[Any]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 50)
    monkeypatch.setattr(module, "BLOCK_ROWS", 64)


def write(path: Path, types: dict[str, tuple[list[str], Vectors]], **attributes: Any) -> Path:
    fields = {"anchors": (), "operator": "transra", "dimension": D, "similarity": "cos", "scale": 1.0, "metrics": {}}
    known = {**fields, "bias_against": [], "config_hash": "", "run_id": "", **attributes}
    with EmbeddingsWriter(path, known) as writer:
        for name, (ids, vectors) in types.items():
            table = writer.entities(name, len(ids), sum(map(len, ids)), "float32")
            table.append(pa.array(ids, pa.string()), vectors.astype(np.float32))
            table.finish()
    return path


def random(count: int, seed: int = 0, dimension: int = D) -> Vectors:
    return np.random.default_rng(seed).normal(size=(count, dimension))


def names(count: int, first: int = 0) -> list[str]:
    return [f"id{row}" for row in range(first, first + count)]


def rotation(seed: int = 5) -> Vectors:
    return np.asarray(np.linalg.qr(random(D, seed))[0])


@pytest.mark.parametrize("similarity", ["cos", "dot", "l2"])
def test_a_rotated_and_shuffled_space_is_the_same_one(tmp_path: Path, similarity: str) -> None:
    vectors, order = random(300), np.random.default_rng(1).permutation(300)
    ids = names(300)
    before = write(tmp_path / "a.h5", {"pin": (ids, vectors)}, similarity=similarity)
    turned = ([ids[row] for row in order], (vectors @ rotation())[order])
    found = stability(write(tmp_path / "b.h5", {"pin": turned}, similarity=similarity), before)
    pin = found["types"]["pin"]
    assert (pin["entities"], pin["known_before"], found["fitted_on"]) == (50, 1, 250)
    assert pin["overlap"] > 0.99 and pin["cosine_aligned"] == pytest.approx(1, abs=1e-5) and pin["cosine"] < 0.5
    assert pin["by_chance"] == pytest.approx(10 / 299)


def test_other_vectors_are_told_from_the_same(tmp_path: Path) -> None:
    before = write(tmp_path / "a.h5", {"pin": (names(2000), random(2000))})
    other = write(tmp_path / "b.h5", {"pin": (names(2000), random(2000, seed=9))})
    noisy = write(tmp_path / "c.h5", {"pin": (names(2000), random(2000) + 0.3 * random(2000, seed=9))})
    strangers, near = (stability(path, before)["types"]["pin"] for path in (other, noisy))
    assert strangers["overlap"] < 0.05 and abs(strangers["cosine_aligned"]) < 0.2
    assert 0.2 < near["overlap"] < 0.95 and 0.9 < near["cosine_aligned"] < 0.99


def test_entities_come_and_go(tmp_path: Path) -> None:
    """Half of the ids are new, at the rows of the old ones; a type is new, another has gone."""
    vectors = random(400)
    before = write(tmp_path / "a.h5", {"pin": (names(200), vectors[:200]), "gone": (names(3), random(3))})
    today = {"pin": (names(200, first=100), vectors[100:300]), "new": (names(3), random(3))}
    found = stability(write(tmp_path / "b.h5", today), before)
    assert list(found["types"]) == ["pin"]
    pin = found["types"]["pin"]
    assert pin["known_before"] == 0.5 and pin["cosine"] == pytest.approx(1, abs=1e-5)
    assert 0.2 < pin["overlap"] < 0.8


def test_little_to_compare_is_null_and_no_error(tmp_path: Path) -> None:
    one = write(tmp_path / "a.h5", {"pin": (names(1), random(1)), "none": ([], random(0))})
    pin = stability(one, one)["types"]["pin"]
    assert pin["overlap"] is None and pin["cosine_aligned"] is None and pin["cosine"] == pytest.approx(1, abs=1e-6)
    wide = write(tmp_path / "b.h5", {"pin": (names(40), random(40, dimension=2 * D))}, dimension=2 * D)
    found = stability(wide, write(tmp_path / "c.h5", {"pin": (names(40), random(40))}))["types"]["pin"]
    assert found["cosine"] is None and found["cosine_aligned"] is None and found["overlap"] is not None


@pytest.mark.parametrize(("similarity", "against"), [("cos", []), ("l2", []), ("dot", []), ("dot", ["user"])])
def test_neighbours_are_those_of_the_command(tmp_path: Path, similarity: str, against: list[str]) -> None:
    types = {"pin": (names(150), random(150)), "user": (names(5), random(5))}
    export = Embeddings(write(tmp_path / "a.h5", types, similarity=similarity, bias_against=against))
    found = nearest(export, "pin", np.array([3, 70, 149]), 10)
    for row, near in zip((3, 70, 149), found.tolist(), strict=True):
        expected = {neighbor.id for neighbor in neighbors(export, "pin", f"id{row}", 10, "pin")}
        assert {f"id{other}" for other in near} == expected
