"""A world with marked people of every kind of consent, and a search for them in every byte below a directory."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.embeddings import hash_ids
from ranker.config.arms import ARMS
from tests.worlds.small_impressions import DAY, START, config, small_world

MARK = "zq7f3a"
# What each kind of person answers, (id as listed, answer, time), in the first night and from the second night on.
ANSWERS: dict[str, tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]] = {
    "never": ([], []),
    "no": ([("{}", "no", "2025-12-01")], []),
    "yes-no": ([("{}", "yes", "2025-12-01"), ("{}", "no", "2025-12-02")], []),
    "no-yes": ([("{}", "no", "2025-12-01"), ("{}", "yes", "2025-12-02")], []),
    "empty": ([("{}", "", "2025-12-01")], []),
    "other-case": ([("{upper}", "yes", "2025-12-01")], []),
    "other-answer-case": ([("{}", "YES", "2025-12-01")], []),
    "spaces": ([(" {}", "yes", "2025-12-01"), ("{} ", "yes", "2025-12-01")], []),
    "other-type": ([("{item}", "yes", "2025-12-01")], []),
    "forgotten": ([("{}", "yes", "2025-12-01")], []),
    "withdrawn": ([("{}", "yes", "2025-12-01")], [("{}", "no", "2026-01-01")]),
}
AGREED = {1: {"no-yes", "withdrawn"}, 2: {"no-yes"}}  # by night
BOUGHT = START - DAY  # when everybody bought what only they did
# The intervals in which each kind had opted in, in seconds from then, in the first night and from the second night on.
Interval = tuple[int | None, int | None]
INTERVALS: dict[str, tuple[list[Interval], list[Interval]]] = {
    "outside-never": ([], []),
    "too-late": ([(1, None)], [(1, None)]),
    "at-the-end": ([(-DAY, 0)], [(-DAY, 0)]),
    "in-a-gap": ([(-DAY, -1), (1, None)], [(-DAY, -1), (1, None)]),
    "empty-interval": ([(0, 0)], [(0, 0)]),
    "ended": ([(None, -1)], [(None, -1)]),
    "inside": ([(0, 1)], [(0, 1)]),
    "overlapping": ([(-DAY, 5), (-1, None)], [(-DAY, 5), (-1, None)]),
    "ever": ([(None, None)], [(None, None)]),
    "half": ([(-2 * DAY - 1, -DAY)], [(-2 * DAY - 1, -DAY)]),
    "closes": ([(-DAY, None)], [(-DAY, 0)]),
    "open-forgotten": ([(None, None)], [(None, None)]),
}
WITHIN = {1: {"inside", "overlapping", "ever", "closes"}, 2: {"inside", "overlapping", "ever"}}  # by night
FORMATS = ("csv", "jsonl", "parquet")


def person(kind: str) -> str:
    return f"{MARK}-{kind}-person"


def item(kind: str) -> str:
    """What only this person bought."""
    return f"{MARK}-{kind}-item"


def title(kind: str) -> str:
    """The label of what only this person bought."""
    return f"{MARK}-{kind}-title"


def ids_of(kind: str) -> list[str]:
    return [person(kind), item(kind), person(kind).upper()]


@dataclass(frozen=True)
class MarkedWorld:
    """`root` with logs and lists in one format; `write_lists` makes those of a night.

    People have given answers, or had opted in for `intervals`.
    """

    root: Path
    format: str
    intervals: bool = False

    @property
    def kinds(self) -> list[str]:
        return list(INTERVALS if self.intervals else ANSWERS)

    @property
    def forgotten(self) -> str:
        return person("open-forgotten" if self.intervals else "forgotten")

    def agreed(self, night: int) -> set[str]:
        """The marked ids, and labels of things, that may be in the graph of a night. Of "half", what was bought when
        they had not opted in stays away."""
        kinds = (WITHIN if self.intervals else AGREED)[night]
        both = {id for kind in kinds for id in (person(kind), item(kind), title(kind))}
        return both | ({person("half")} if self.intervals else set())

    def write(self) -> None:
        small_world(self.root, rows=3000).write(user_id=self._impressed())
        self._table("onsite", ["user", "pin", "ts"], list(self._clicks()))
        bought = [(person(kind), item(kind), BOUGHT) for kind in self.kinds for _ in range(3)]
        bought += [(person("half"), "i1", BOUGHT - 2 * DAY)] if self.intervals else []
        bought += [(f"u{user}", f"i{user % 5}", START - DAY) for user in range(40)]
        self._table("offsite", ["user", "item", "ts"], bought)
        self._table("titles", ["item", "title"], [(item(kind), title(kind)) for kind in self.kinds])
        self.write_lists(1)
        (self.root / "marked.json").write_text(json.dumps(self.config()))

    def write_lists(self, night: int) -> None:
        """The consent list, which has a history or intervals, and the list of ids to forget."""
        if self.intervals:
            self._table("consent", ["person", "since", "until"], list(self._opted_in(night)))
        else:
            self._table("consent", ["person", "answer", "at"], list(self._answers(night)))
        kind = "open-forgotten" if self.intervals else "forgotten"
        self.write_forget([("user", person(kind)), ("item", item(kind))])

    def _answers(self, night: int) -> Iterator[tuple[str, str, str]]:
        yield from ((f"u{user}", "yes", "2025-11-01") for user in range(40))
        for kind, (first, second) in ANSWERS.items():
            for text, answer, time in [*first, *(second if night > 1 else [])]:
                yield text.format(person(kind), upper=person(kind).upper(), item=item(kind)), answer, time

    def _opted_in(self, night: int) -> Iterator[tuple[str, int | None, int | None]]:
        yield from ((f"u{user}", None, None) for user in range(40))
        for kind, nights in INTERVALS.items():
            for interval in nights[night - 1]:
                since, until = (None if seconds is None else BOUGHT + seconds for seconds in interval)
                yield person(kind), since, until

    def write_forget(self, entries: list[tuple[str, str]]) -> None:
        self._table("forget", ["type", "id"], entries)

    def config(self) -> dict[str, Any]:
        when = {"time_column": "ts", "time_unit": "s"}
        sides = {name: {"type": name, "column": name} for name in ("user", "pin", "item")}
        consent = {"source": "consent", "type": "user", "column": "person"}
        answers, intervals = {"where": "answer = 'yes'", "time_column": "at"}, {"from_column": "since"}
        consent |= {**intervals, "to_column": "until"} if self.intervals else answers
        return {
            "graph": {
                "partitions": 2,
                "memory_limit": "1GB",
                "write_names": True,
                "sources": {
                    "onsite": {"path": f"onsite.{self.format}", **when},
                    "offsite": {"path": f"offsite.{self.format}", **when},
                    "consent": {"path": f"consent.{self.format}", "time_unit": "s" if self.intervals else None},
                    "forget": {"path": f"forget.{self.format}"},
                    "titles": {"path": f"titles.{self.format}"},
                },
                "entities": {
                    "user": {},
                    "pin": {},
                    "item": {"label": {"source": "titles", "column": "item", "text": "title"}},
                },
                "relations": [
                    {"name": "click", "source": "onsite", "lhs": sides["user"], "rhs": sides["pin"]},
                    {
                        "name": "buy",
                        "source": "offsite",
                        "domain": "offsite",
                        "lhs": sides["user"],
                        "rhs": sides["item"],
                    },
                ],
                "consent": consent,
                "forget": {"source": "forget"},
            },
            "model": {"operator": "transra", "anchors": ["click"], "dimension": 8, "epochs": 1, "workers": 1},
            "export": {"formats": ["hdf5", "parquet", "tsv"]},
            "ranker": config(arms={"none": ARMS["none"]}, training={"batch_size": 512}).model_dump(mode="json"),
        }

    def _clicks(self) -> Iterator[tuple[str, str, int]]:
        rng = np.random.default_rng(0)
        for user, pin in zip(rng.integers(0, 400, 2000), rng.integers(0, 60, 2000), strict=True):
            yield f"u{user}", f"p{pin}", START - DAY
        yield self.forgotten, "p1", START - DAY

    def _impressed(self) -> list[str]:
        """Every tenth impression is of the person to be forgotten."""
        return [self.forgotten if row % 10 == 0 else f"u{row % 400}" for row in range(3000)]

    def _table(self, name: str, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
        path = self.root / f"{name}.{self.format}"
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        if self.format == "csv":
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([columns, *rows])
        elif self.format == "jsonl":
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
        else:
            pq.write_table(pa.table({column: [record[column] for record in records] for column in columns}), path)


def traces(directory: Path) -> dict[str, set[str]]:
    """The marked ids and labels that any file below a directory holds, with the files: as text, or as an id's hash.

    Text is looked for in raw bytes and in what a reader decodes (Parquet, HDF5, JSON, numpy); hashes are the 64 bits of
    the entity map and the exports, and the 32 bits of prepared impressions.
    """
    found: dict[str, set[str]] = {}
    ids = [id for kind in (*ANSWERS, *INTERVALS) for id in (*ids_of(kind), title(kind))]
    hashes = dict(zip(ids, hash_ids(pa.array(ids, pa.large_string())), strict=True))
    for path in sorted(path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()):
        raw = path.read_bytes() + b"\0" + _decoded(path)
        short = _short_hashes(path)
        for id, hash in hashes.items():
            long = int(hash).to_bytes(8, "little") in raw
            if id.encode() in raw or id.encode("utf-16-le") in raw or long or int(hash) >> 32 in short:
                found.setdefault(id, set()).add(str(path.relative_to(directory)))
    return found


def _decoded(path: Path) -> bytes:
    """What a reader of the format gives, as bytes; nothing for a file that was cut short by a kill."""
    try:
        if path.suffix == ".parquet":
            return b"\0".join(str(row).encode() for row in pq.read_table(path).to_pylist())
        if path.suffix == ".h5":
            pieces: list[bytes] = []
            with h5py.File(path) as file:
                file.visititems(
                    lambda _, one: pieces.append(one[()].tobytes()) if isinstance(one, h5py.Dataset) else None
                )
            return b"\0".join(pieces)
        if path.suffix == ".json":
            return json.dumps(json.loads(path.read_text()), ensure_ascii=False).encode()
        if path.suffix == ".npy":
            return np.load(path).tobytes()
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return b"\0".join(arrays[name].tobytes() for name in arrays.files)
    except (ValueError, OSError, pa.ArrowInvalid):
        return b""
    return b""


def _short_hashes(path: Path) -> set[int]:
    """Of prepared impressions, every aligned or unaligned 32 bits."""
    if path.suffix != ".bin":
        return set()
    raw = path.read_bytes()
    return {
        value
        for start in range(4)
        for value in np.frombuffer(raw[start : start + (len(raw) - start) // 4 * 4], "<u4").tolist()
    }
