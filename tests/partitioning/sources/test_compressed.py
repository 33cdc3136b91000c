"""Compressed logs: whole or refused, and what they unpack to is planned for."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from artifacts.errors import DataError, ResourceError
from partitioning import GraphConfig, build_graph, plan_graph
from partitioning.sources.compressed import plain
from tests.partitioning.test_errors import config

TEXT = b"user,pin,ts\n" + b"".join(b"u%d,p%d,%d\n" % (row, row % 7, row) for row in range(2000))


def zstd(data: bytes) -> bytes:
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, "zstd") as file:
        file.write(data)
    return bytes(stream.getvalue().to_pybytes())


PACK = {".gz": gzip.compress, ".zst": zstd}


def section(suffix: str, **changes) -> GraphConfig:
    raw = config(**changes)
    log = {**raw["sources"]["log"], "path": f"log.csv{suffix}"}
    return GraphConfig.model_validate({**raw, "sources": {"log": log}})


def build(root: Path, suffix: str, data: bytes) -> int:
    (root / f"log.csv{suffix}").write_bytes(data)
    (root / "graph").mkdir()
    return build_graph(section(suffix), root, root / "graph", lambda step, fraction: None).rows_read["log"]


def damaged(kind: str, whole: bytes) -> bytes:
    middle = len(whole) // 2
    return {
        "without its last byte": whole[:-1],
        "without its trailer": whole[:-8],
        "cut in half": whole[:middle],
        "its header": whole[:10],
        "followed by garbage": whole + b"garbage",
        "with a flipped bit": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "with another checksum": whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:],
        "not compressed": TEXT,
    }[kind]


CUT = ["without its last byte", "without its trailer", "cut in half", "its header"]
CUT += ["followed by garbage", "not compressed"]
KINDS = [(kind, suffix) for kind in CUT for suffix in PACK]
# Arrow's zstd writes no checksum, as `zstd --no-check`: there a flipped bit may pass.
KINDS += [(kind, ".gz") for kind in ("with a flipped bit", "with another checksum")]


@pytest.mark.parametrize(("kind", "suffix"), KINDS)
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    with pytest.raises(DataError, match=rf"log\.csv\{suffix}: cannot be unpacked as (gzip|zstd) \(.*\); copy it again"):
        build(tmp_path, suffix, damaged(kind, PACK[suffix](TEXT)))


@pytest.mark.parametrize("suffix", PACK)
def test_whole_files_are_read_and_members_follow_each_other(tmp_path: Path, suffix: str) -> None:
    rest = TEXT.split(b"\n", 1)[1]
    assert build(tmp_path, suffix, PACK[suffix](TEXT) + PACK[suffix](rest)) == 4000
    assert plain(tmp_path / f"log.csv{suffix}") == (len(TEXT) + len(rest), 4001)


@pytest.mark.parametrize("suffix", PACK)
def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is_read(tmp_path: Path, suffix: str) -> None:
    bomb = PACK[suffix](b"user,pin,ts\n" + b"u1,p1,1\n" * 6_000_000)
    assert len(bomb) < 200_000
    (tmp_path / f"log.csv{suffix}").write_bytes(bomb)
    tight = section(suffix, memory_limit="600MB", threads=1)
    plan = plan_graph(tight, tmp_path)
    assert plan.rows > 6_000_000 and plan.disk_bytes > 48_000_000
    with pytest.raises(ResourceError, match="graph.memory_limit: 600MB is too little, this graph needs about"):
        plan.require(tight, tmp_path)


def test_a_bucket_beyond_the_plan_is_refused_before_it_is_sorted(tmp_path: Path) -> None:
    """The first lines, which the plan goes by, are long ones."""
    lines = [b"%s,p1,1\n" % (b"u" * 4000) for _ in range(20)] + [b"u1,p1,1\n"] * 4_000_000
    (tmp_path / "log.csv").write_bytes(b"user,pin,ts\n" + b"".join(lines))
    (tmp_path / "graph").mkdir()
    tight = section("", memory_limit="600MB", threads=1)
    assert plan_graph(tight, tmp_path).rows < 100_000
    with pytest.raises(ResourceError, match=r"is too little for a bucket of 4,\d+,\d+ edges"):
        build_graph(tight, tmp_path, tmp_path / "graph", lambda step, fraction: None)
    assert not (tmp_path / "graph/.spill").exists()
