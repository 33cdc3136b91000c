"""An export that is damaged or made by hand is refused in one line before anything of it is used."""

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from artifacts.neighbors import neighbors
from tests.artifacts.test_embeddings_file import random_vectors, write

IDS = [f"u{index}" for index in range(20)]
DEEP = "[" * 100_000 + "]" * 100_000


def use(path: Path) -> None:
    """All that readers do with an export."""
    export = Embeddings(path)
    neighbors(export, "user", "u3", 5, "user")
    export.rows("user", [*IDS, "nobody"])
    export.ids("user").to_pylist()


def replaced(name: str, make: Callable[[h5py.Group, str], Any]) -> Callable[[h5py.File], None]:
    """Puts something else in the place of an object of the file."""

    def change(file: h5py.File) -> None:
        parent, _, last = name.rpartition("/")
        del file[name]
        make(file[parent or "/"], last)

    return change


def elsewhere(group: h5py.Group, name: str) -> None:
    other = Path(group.file.filename).with_name("other.h5")
    with h5py.File(other, "w") as file:
        file["vectors"] = np.full((20, 3), 7, np.float32)
    group[name] = h5py.ExternalLink(str(other), "/vectors")


def virtual(group: h5py.Group, name: str) -> None:
    layout = h5py.VirtualLayout((20, 3), np.float32)
    layout[:] = h5py.VirtualSource(group.file.filename, "entities/user/vectors", (20, 3))
    group.create_virtual_dataset(name, layout)


def stored_outside(group: h5py.Group, name: str) -> None:
    outside = Path(group.file.filename).with_name("outside.bin")
    outside.write_bytes(bytes(240))
    group.create_dataset(name, (20, 3), np.float32, external=[(str(outside), 0, 240)])


def data(values: Any, **how: Any) -> Callable[[h5py.Group, str], Any]:
    return lambda group, name: group.create_dataset(name, data=values, **how)


def offset(row: int, value: int) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file["entities/user/ids/offsets"][row] = value

    return change


def hash_rows(value: int) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file["entities/user/ids/hash_rows"][...] = value

    return change


def attribute(name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.__setitem__(name, value)


VECTORS, USER = "entities/user/vectors", "entities/user"
HOSTILE = {
    "external link": replaced(VECTORS, elsewhere),
    "soft link": replaced(
        VECTORS, lambda group, name: group.__setitem__(name, h5py.SoftLink("/entities/user/ids/bytes"))
    ),
    "soft link to itself": replaced(USER, lambda group, name: group.__setitem__(name, h5py.SoftLink("/" + USER))),
    "virtual dataset": replaced(VECTORS, virtual),
    "external storage": replaced(VECTORS, stored_outside),
    "chunks": replaced(VECTORS, data(random_vectors(20), chunks=(2, 3))),
    "complex vectors": replaced(VECTORS, data(random_vectors(20).astype(np.complex64))),
    "int vectors": replaced(VECTORS, data(np.ones((20, 3), np.int64))),
    "string vectors": replaced(VECTORS, data([["a", "b", "c"]] * 20)),
    "one axis": replaced(VECTORS, data(np.zeros(60, np.float32))),
    "NaN": replaced(VECTORS, data(np.full((20, 3), np.nan, np.float32))),
    "group for a dataset": replaced(VECTORS, lambda group, name: group.create_group(name)),
    "dataset for a group": replaced(USER, data(np.zeros(3))),
    "no entities": lambda file: file.__delitem__("entities"),
    "dataset for relations": replaced("relations", data(np.zeros(3))),
    "relation without a name": lambda file: file["relations/0"].attrs.__delitem__("name"),
    "relation of a number": lambda file: file["relations/0"].attrs.__setitem__("name", 5),
    "relation that is no number": lambda file: file["relations"].create_group("x"),
    "offset far below": offset(5, -(2**40)),
    "offset far beyond": offset(5, 2**50),
    "offsets that descend": offset(5, 0),
    "offsets not from 0": offset(0, 1),
    "rows below": hash_rows(-1),
    "rows beyond": hash_rows(20),
    "degrees named by a number": lambda file: (
        file[USER].create_dataset("degrees", data=np.zeros((20, 1), np.int32)).attrs.__setitem__("names", "[5]")
    ),
    "degrees named by an object": lambda file: (
        file[USER].create_dataset("degrees", data=np.zeros((20, 1), np.int32)).attrs.__setitem__("names", 5)
    ),
    "unknown similarity": attribute("similarity", "nearness"),
    "dimension of text": attribute("dimension", "3"),
    "another dimension": attribute("dimension", 4),
    "anchors of numbers": attribute("anchors", "[1, 2]"),
    "metrics that are no JSON": attribute("metrics", "{"),
    "metrics that are deep": attribute("metrics", '{"a": ' + DEEP + "}"),
    "format of an array": attribute("format_version", np.arange(3)),
    "ids that are no UTF-8": lambda file: file["entities/user/ids/bytes"].__setitem__(slice(0, 60), 255),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_export_is_bad_data(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "e.h5", IDS, random_vectors(20)).path
    use(path)
    with h5py.File(path, "r+") as file:
        HOSTILE[kind](file)
    with pytest.raises(DataError, match=r"e\.h5: ") as caught:
        use(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "empty"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "e.h5"
    {
        "fifo": lambda: os.mkfifo(path),
        "directory": path.mkdir,
        "device": lambda: path.symlink_to("/dev/zero"),
        "empty": path.touch,
    }[kind]()
    with pytest.raises(DataError, match="expected a whole export"):
        Embeddings(path)


def test_damage_never_ends_the_process(tmp_path: Path) -> None:
    """Bits flipped and ends cut off: right, or refused by our own error."""
    path = write(tmp_path / "e.h5", IDS, random_vectors(20)).path
    whole, rng, refused = path.read_bytes(), random.Random(7), 0
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.unlink()
        path.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        try:
            use(path)
        except DataError:
            refused += 1
    assert refused > 30


def test_a_reader_sees_one_run_while_latest_moves(tmp_path: Path) -> None:
    """The vectors are those of the run that the attributes name, whenever the link moves."""
    for name, value, count in (("a", 1, 20), ("b", 2, 30)):
        (tmp_path / name).mkdir()
        vectors = np.full((count, 3), value, np.float32)
        write(tmp_path / name / "e.h5", [f"u{index}" for index in range(count)], vectors, run_id=name)
    link, over = tmp_path / "latest", threading.Event()
    link.symlink_to("a")

    def flip() -> None:
        targets = ["b", "a"]
        while not over.is_set():
            aside = tmp_path / "aside"
            aside.symlink_to(targets[0])
            os.replace(aside, link)
            targets.reverse()

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        for _ in range(100):
            export = Embeddings(link / "e.h5")
            run, first = export.attributes["run_id"], float(export.vectors("user")[0, 0])
            assert (run, first, export.count("user")) in {("a", 1.0, 20), ("b", 2.0, 30)}
    finally:
        over.set()
        thread.join()


def test_neighbors_of_a_vector_that_is_not_finite_are_refused(tmp_path: Path) -> None:
    vectors = random_vectors(20)
    vectors[7, 1] = np.inf
    path = write(tmp_path / "e.h5", IDS, vectors).path
    with pytest.raises(DataError, match="the vector of 'u7' is not finite"):
        neighbors(Embeddings(path), "user", "u3", 5, "user")
