"""Sources given as tables in memory: the graph of a Parquet file of the same table, and errors that name the row."""

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import ConfigError, DataError, TransraError
from artifacts.sources.frame import Frame
from partitioning import GraphConfig, GraphReport, build_graph
from tests.partitioning.test_errors import check, config, log, relation
from tests.worlds.ledger_world import assert_same_bytes, ledger_config
from tests.worlds.partitioning_reference import edges

START = int(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp())


def build(root: Path, name: str, raw: dict, frames: dict[str, Frame] | None = None) -> GraphReport:
    (root / name).mkdir()
    section = GraphConfig.model_validate({"memory_limit": "1GB", **raw})
    return build_graph(section, root, root / name, lambda step, fraction: None, sources=frames)


def refused(root: Path, raw: dict, **frames: Frame) -> TransraError:
    with pytest.raises(TransraError) as caught:
        build(root, "graph", raw, frames)
    assert not (root / "graph/.spill").exists() and "\n" not in str(caught.value)
    return caught.value


def events(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "user": rng.integers(0, 40, rows),
            "pin": [f"p{i}" for i in rng.integers(0, 30, rows)],
            "board": [f"b{i}" if i else None for i in rng.integers(0, 5, rows)],
            "dwell": np.where(rng.random(rows) < 0.2, np.nan, rng.exponential(3.0, rows)),
            "at": START + rng.integers(0, 30 * 86_400, rows),
        }
    )


def events_config(time_unit: str | None) -> dict:
    user, pin = {"type": "user", "column": "user"}, {"type": "pin", "column": "pin"}
    board = {"type": "board", "column": "board"}
    return {
        "partitions": 2,
        "sources": {
            "events": {"path": "events.parquet", "time_column": "at", "time_unit": time_unit},
            "people": {"path": "people.parquet"},
        },
        "entities": {"user": {}, "pin": {}, "board": {"partitions": 1}},
        "relations": [
            {"name": "seen", "source": "events", "lhs": user, "rhs": pin, "where": "dwell > 3", "weight": "dwell"},
            {"name": "bought", "source": "events", "lhs": user, "rhs": pin, "where": "dwell < 1", "domain": "offsite"},
            {"name": "on", "source": "events", "lhs": pin, "rhs": board, "where": "board IS NOT NULL"},
        ],
        "consent": {"source": "people", "type": "user", "column": "person", "where": "answer = 'yes'"},
        "split": {"time": {"valid_from": START + 20 * 86_400, "test_from": START + 25 * 86_400}},
    }


def people() -> pd.DataFrame:
    return pd.DataFrame({"person": np.arange(40), "answer": ["yes", "no"] * 20})


TIMES = {
    "epoch seconds": ("s", lambda at: at),
    "timestamps": (None, lambda at: pd.to_datetime(at, unit="s").astype("datetime64[ns]")),
    "of a zone": (None, lambda at: pd.to_datetime(at, unit="s", utc=True).dt.tz_convert("Asia/Tokyo")),
    "ISO text": (None, lambda at: pd.to_datetime(at, unit="s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")),
}


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("of", [lambda frame: frame, pa.Table.from_pandas], ids=["pandas", "arrow"])
def test_a_frame_is_its_parquet_file(tmp_path, kind, of):
    unit, convert = TIMES[kind]
    frame = events().assign(at=lambda table: convert(table["at"]))
    frame.to_parquet(tmp_path / "events.parquet")
    people().to_parquet(tmp_path / "people.parquet")
    counted = build(tmp_path, "of_files", events_config(unit))
    (tmp_path / "events.parquet").unlink()  # a frame needs no file
    found = build(tmp_path, "of_frames", events_config(unit), {"events": of(frame), "people": of(people())})
    assert found == counted and min(found.edges_by_split.values()) > 0 and found.without_consent["bought"] > 0
    assert_same_bytes(tmp_path / "of_files", tmp_path / "of_frames")


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
def test_every_type_of_text(tmp_path, kind):
    column = pa.chunked_array([["a", "b"], [], ["c", "a"]])
    column = column.dictionary_encode() if kind == "dictionary" else column.cast(getattr(pa, kind)())
    table = pa.table({"user": pa.array([7, 8, 9, 7], pa.uint8()), "pin": column, "ts": [10, 20, 30, 40]})
    raw = config(relations=[relation(where="pin <> 'z'")])
    pq.write_table(table, tmp_path / "log.parquet")
    build(tmp_path, "of_files", raw)
    build(tmp_path, "of_frames", raw, {"log": table})
    assert_same_bytes(tmp_path / "of_files", tmp_path / "of_frames")
    assert len(edges(tmp_path / "of_frames")) == 4


def test_anything_that_speaks_arrow(tmp_path):
    """A stream is read once, and DuckDB's own results have nothing of pandas or Arrow."""
    log().to_parquet(tmp_path / "log.parquet")
    build(tmp_path, "of_files", config())
    build(tmp_path, "of_stream", config(), {"log": pa.Table.from_pandas(log()).to_reader()})
    assert_same_bytes(tmp_path / "of_files", tmp_path / "of_stream")


def test_one_source_of_a_relation_may_be_a_frame_and_the_other_a_file(tmp_path):
    log().to_csv(tmp_path / "old.csv", index=False)
    time = {"time_column": "ts", "time_unit": "s"}
    raw = config(
        sources={"old": {"path": "old.csv", **time}, "new": {"path": "unused", **time}},
        relations=[relation(source=["old", "new"])],
    )
    report = build(tmp_path, "graph", raw, {"new": log(user=[3, 4, 5])})
    assert report.rows_read == {"old": 3, "new": 3} and report.edges == 6 and report.entities_by_type["user"] == 5


def test_an_empty_frame_is_an_empty_log(tmp_path):
    error = refused(tmp_path, config(), log=log().head(0))
    check(error, DataError, "relation 'click' has no edges")


BAD_FRAMES = {
    "missing id": (log(pin=["a", None, "c"]), DataError, "source 'log', row 2: no value in column 'pin'"),
    "missing time": (
        log(ts=pd.array([10, 20, None], "Int64")), DataError, "source 'log', row 3: no value in column 'ts'",
    ),
    "late time": (log(ts=[10, 20, 9_000_000_000]), DataError, "source 'log', row 3: column 'ts' has 9000000000"),
    "no column": (
        log().drop(columns="pin"), DataError, "source 'log' has no column 'pin' (known: ts, user)",
    ),
    "floating id": (log(user=[1.0, None, 3.0]), DataError, "source 'log': column 'user' is DOUBLE; expected"),
    "mixed objects": (log(pin=["a", 2, "c"]), DataError, "source 'log': cannot become an Arrow table"),
    "one name twice": (
        pa.table([[1], ["a"], [2], [3]], ["user", "pin", "ts", "user"]), DataError, "source 'log': column 'user' occ",
    ),
    "no frame": ([1, 2, 3], ConfigError, "source 'log': expected a pandas DataFrame or an Arrow table, found list"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_FRAMES)
def test_bad_frames_are_named(tmp_path, kind):
    frame, error, message = BAD_FRAMES[kind]
    check(refused(tmp_path, config(), log=frame), error, message)


def test_rows_are_counted_over_all_batches(tmp_path):
    table = pa.concat_tables(pa.Table.from_pandas(log(pin=["a", "b", pin])) for pin in ["c"] * 5000 + [None])
    check(refused(tmp_path, config(), log=table), DataError, "source 'log', row 15003: no value in column 'pin'")


def test_unknown_sources_and_ledgers_are_refused(tmp_path):
    check(refused(tmp_path, config(), logs=log()), ConfigError, "unknown source 'logs', did you mean 'log'?")
    (tmp_path / "graph").rmdir()
    error = refused(tmp_path, ledger_config(), table=log())
    check(error, ConfigError, "append_only", "expected no frames")
