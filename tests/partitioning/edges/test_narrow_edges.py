"""Edge files hold the narrowest integers that the graph's counts allow; PBG reads them; wide ones are still read."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from torchbiggraph.edgelist import EdgeList
from torchbiggraph.entitylist import EntityList
from torchbiggraph.graph_storages import FileEdgeStorage

from artifacts.errors import DataError
from artifacts.formats.bucket_file import COLUMNS, BucketFile, narrowest
from artifacts.formats.graph import Bucket, bucket_path, edge_path, load_graph
from partitioning.edges.key import KeyLayout
from partitioning.engines import local_backend
from tests.partitioning.test_errors import config, relation
from tests.worlds.ledger_world import (
    assert_same_bytes,
    build,
    ledger_config,
    rows_of,
    two_days,
    weighted_config,
    write_day,
)
from tests.worlds.partitioning_reference import build as build_graph
from tests.worlds.partitioning_reference import edges
from tests.worlds.wide_graphs import widen

ONE = Bucket(0, 0)


def types_of(path: Path) -> list[str]:
    with h5py.File(path) as file:
        return [str(file[name].dtype) for name in COLUMNS]


@pytest.mark.parametrize(
    ("largest", "kind"),
    [
        (0, "uint8"),
        (255, "uint8"),
        (256, "uint16"),
        (65_535, "uint16"),
        (65_536, "uint32"),
        (2**32 - 1, "uint32"),
        (2**32, "int64"),
    ],
)
def test_the_type_is_the_narrowest_that_holds_the_largest_offset(largest: int, kind: str) -> None:
    assert narrowest(largest.bit_length()) == kind
    assert np.array([largest]).astype(kind)[0] == largest
    assert KeyLayout.of(1, largest + 1, 1).column_types(largest + 1) == (np.dtype(kind), np.uint8, np.dtype(kind))


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70,000 users and 300 pins in one bucket: the largest offset of either side is in some edge."""
    root = tmp_path_factory.mktemp("narrow")
    frame = pd.DataFrame({"user": range(70_000), "pin": [f"p{i % 300}" for i in range(70_000)], "ts": 1})
    frame.to_parquet(root / "log.parquet")
    relations = [relation(name="low", where="user < 9"), relation(name="high", where="user >= 9")]
    build_graph(config(relations=relations), root, root / "graph")
    assert types_of(bucket_path(root / "graph", "train", ONE)) == ["uint32", "uint16", "uint8"]
    return root / "graph"


@pytest.mark.parametrize("chunks", [1, 7])
def test_pbg_reads_the_same_from_narrow_and_from_wide_files(graph: Path, tmp_path: Path, chunks: int) -> None:
    wide = tmp_path / "wide"
    wide.mkdir()
    with BucketFile(bucket_path(graph, "train", ONE)) as file:
        columns = file.columns()
    assert columns.lhs.max() == 69_999 and columns.rhs.max() == 299 and set(columns.rel) == {0, 1}
    ends = (EntityList.from_tensor(torch.from_numpy(column)) for column in (columns.lhs, columns.rhs))
    with FileEdgeStorage(str(wide)).save_edges_by_appending(
        0, 0
    ) as appender:  # a FileEdgeAppender, as its importer has
        appender.append_edges(EdgeList(*ends, torch.from_numpy(columns.rel)))
    assert types_of(wide / "edges_0_0.h5") == ["int64"] * 3
    ours, pbgs = FileEdgeStorage(str(edge_path(graph, "train"))), FileEdgeStorage(str(wide))
    assert ours.get_number_of_edges(0, 0) == pbgs.get_number_of_edges(0, 0) == 70_000
    for chunk in range(chunks):
        one, other = (storage.load_chunk_of_edges(0, 0, chunk, chunks) for storage in (ours, pbgs))
        assert one.rel.dtype == torch.int64 and one == other


def test_wide_buckets_are_read_as_narrow_ones_are(graph: Path, tmp_path: Path) -> None:
    wide = tmp_path / "edges_0_0.h5"
    wide.write_bytes(bucket_path(graph, "train", ONE).read_bytes())
    widen(tmp_path)
    with BucketFile(bucket_path(graph, "train", ONE)) as narrow, BucketFile(wide) as other:
        for one, two in zip((*narrow.columns(), *narrow.mapped()), (*other.columns(), *other.mapped()), strict=True):
            assert np.array_equal(one, two)
        assert {column.dtype for column in narrow.columns(3, 9)} == {np.dtype(np.int64)}


def test_a_column_of_another_type_is_refused(graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "edges_0_0.h5"
    path.write_bytes(bucket_path(graph, "train", ONE).read_bytes())
    with h5py.File(path, "r+") as file:
        content = file["lhs"][:].astype(np.float64)
        del file["lhs"]
        file.create_dataset("lhs", data=content)
    with pytest.raises(DataError, match="lhs holds float64, expected uint8 or uint16 or uint32 or int64"):
        BucketFile(path)


@pytest.mark.parametrize("make", [ledger_config, weighted_config])
@pytest.mark.parametrize("before", ["narrow", "wide"])
def test_a_night_that_outgrows_a_type_gives_the_bytes_of_a_full_build(tmp_path: Path, make, before: str) -> None:
    """Counted edges lie in the old type, wrapped numbers would still be numbers."""
    root = two_days(tmp_path)
    shutil.rmtree(root / "first")
    build(root, make(), "first")
    if before == "wide":  # a graph of an earlier version that was published
        widen(root / "first")
    write_day(root, "day-3", [(user, f"p{user}", "click", 1, 1.0) for user in range(700)] + rows_of(3))
    report = build(root, make(), "second", "first")
    build(root, make(), "whole", "first", whole=True)
    assert report.files_settled == 3, "its two days, and the table"
    assert_same_bytes(root / "second", root / "whole")
    assert types_of(bucket_path(root / "second", "train", ONE))[:2] == ["uint16", "uint16"]
    build(root, make(), "fresh")
    assert edges(root / "second") == edges(root / "fresh")


@pytest.mark.parametrize("night", [False, True])
def test_ends_in_files_are_those_of_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, night: bool) -> None:
    root = two_days(tmp_path)
    if night:
        write_day(root, "day-3", rows_of(3, range(5, 40)))
    build(root, weighted_config(), "flags", "first" if night else None)
    monkeypatch.setattr(local_backend, "FLAGS_SHARE", 1 << 40)  # no memory for them
    build(root, weighted_config(), "files", "first" if night else None)
    assert_same_bytes(root / "flags", root / "files")
    assert load_graph(root / "flags").relations
