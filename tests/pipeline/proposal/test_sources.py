"""Which files are one source, and what their names and dates say."""

from pathlib import Path

import pandas as pd
import pytest

from artifacts.sources.source_files import find_files
from pipeline.proposal.sources import find_sources
from tests.worlds.proposals import events, proposed, relations, runs


@pytest.mark.parametrize("changes", [False, True])
def test_a_table_that_each_date_has_whole_is_no_log(tmp_path: Path, changes: bool) -> None:
    """`dt=` beside its rows is when they were written: as events, the last date's rows were held out."""
    logs = tmp_path / "logs"
    for day in range(1, 10):
        (logs / "clicks" / f"dt=2026-01-0{day}").mkdir(parents=True)
        events(90).drop(columns=["time", "advertiser", "action"]).to_csv(
            logs / "clicks" / f"dt=2026-01-0{day}" / "part-0.csv", index=False
        )
    for day in (8, 9):
        (logs / "ads" / f"dt=2026-01-0{day}").mkdir(parents=True)
        table = pd.DataFrame({"ad": [f"ad{ad}" for ad in range(8)], "advertiser": [f"adv{ad % 3}" for ad in range(8)]})
        table.loc[7, "advertiser"] = f"adv{day if changes else 1}"
        table.to_csv(logs / "ads" / f"dt=2026-01-0{day}" / "part-0.csv", index=False)
    config = proposed(tmp_path, logs)
    found = relations(config)
    assert config.graph.sources["clicks"].time_column == "dt" and config.graph.sources["ads"].time_column is None
    assert (found["ad_advertiser"].domain, found["ad_advertiser"].weight) == ("side", "1")
    assert config.trained.anchors == ("clicks",)
    runs(tmp_path, "--until", "partition")


def test_a_column_that_only_earlier_files_have_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "log"
    logs.mkdir()
    events(90, ["click"]).to_parquet(logs / "part-0.parquet")
    events(90, ["click"]).drop(columns="advertiser").to_parquet(logs / "part-1.parquet")
    assert [*relations(proposed(tmp_path, tmp_path))] == ["click"]


def test_files_of_a_log_are_one_source(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    (logs / "ads" / "day=2026-01-01").mkdir(parents=True)
    events(100, ["click"]).to_csv(logs / "ads" / "day=2026-01-01" / "x.csv", index=False)
    for day in ("2026-01-01", "2026-01-02"):
        events(60, ["click"]).to_csv(logs / f"views-{day}.tsv", sep="\t", index=False)
    (logs / "notes.txt").write_text("no log")
    sources = proposed(tmp_path, logs).graph.sources
    assert {name: source.path for name, source in sources.items()} == {
        "ads": "logs/ads",
        "views": "logs/views-*.tsv",
    }


@pytest.mark.parametrize(
    ("names", "later"),
    [
        (("day-01.csv", "day-02.csv"), "day-10.csv"),
        (("2026-01-30.csv", "2026-01-31.csv"), "2026-02-01.csv"),
        (("x-2026-01-30.csv", "x-2026-01-31.csv", "x-people.csv"), "x-2027-02-01.csv"),
        (("2026-01-30.csv", "2026-01-31.csv", "people.csv"), "2027-02-01.csv"),
        (("x.csv", "x-1.csv"), "x-2.csv"),
    ],
)
def test_the_files_of_later_days_are_of_the_same_source(tmp_path: Path, names: tuple[str, ...], later: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    log = max(find_sources([tmp_path], tmp_path), key=lambda one: len(one.files))
    assert len(log.files) == 2
    (tmp_path / later).touch()
    assert {*find_files(tmp_path, log.paths).files} == {*log.files, tmp_path / later}


@pytest.mark.parametrize(
    "names",
    [
        *(
            ("a.csv", "B.CSV"),
            ("a.csv", "B.CSV", "notes.txt"),
            ("a.csv", "a.csv.gz"),
            ("x/a.csv", "b.csv", "notes.txt"),
        ),
        *(("day=1/a.csv", "day=2/B.CSV", "day=2/notes.txt"), ("a.csv", "_b.csv"), ("a[1].csv", "a1.csv")),
    ],
)
@pytest.mark.parametrize("within", ["logs", "."])
def test_what_is_written_names_the_files_that_were_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], within: str
) -> None:
    """Upper case, other files, directories: whatever a glob would add or drop, another way of writing them is taken."""
    for name in names:
        (tmp_path / "all" / within / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / within / name).touch()
    found = find_sources([tmp_path / "all"], tmp_path)
    meant = {name for name in names if name[0] != "_" and name.lower().endswith((".csv", ".gz"))}
    read: list[str] = []
    for one in found:
        files = find_files(tmp_path, one.paths).files
        assert files == one.files
        read += [path.relative_to(tmp_path / "all" / within).as_posix() for path in files]
    assert sorted(read) == sorted(meant)


def test_names_with_what_may_end_a_line_are_read_back_as_they_were(tmp_path: Path) -> None:
    odd = ["\u2028", "\u2029", "\x85", "\x0b", "\U000e0001", "\t", "\\", "\ufeff", "é", "日", "\U0001f600", "*/", "//"]
    log = events(300, [f"sa{one}ve" for one in odd]).rename(columns={"ad": f"{' '.join(odd)} ad_id"})
    log.to_parquet(tmp_path / "log\u2028日.parquet")
    config = proposed(tmp_path, tmp_path)
    found = [one for one in config.graph.relations if one.domain == "onsite"]
    assert {one.rhs.column for one in found} == {f"{' '.join(odd)} ad_id"}
    assert {one.where for one in found} == {f"action = 'sa{one}ve'" for one in odd}


def test_train_valid_and_test_files_are_one_relation(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for split, rows in (("train", 400), ("valid", 60), ("test", 60)):
        log = events(rows, ["view"])[["user", "ad"]]
        log.to_parquet(logs / f"seen_{split}.parquet")
    config = proposed(tmp_path, logs)
    assert relations(config)["seen"].source == ["seen_test", "seen_train", "seen_valid"]
    assert {name: source.split for name, source in config.graph.sources.items()} == {
        f"seen_{split}": split for split in ("train", "valid", "test")
    }


def test_files_of_a_log_keep_the_conditions_of_each(tmp_path: Path) -> None:
    for split, column in (("train", "ad"), ("valid", "user"), ("test", "ad")):
        log = events(60, ["view"])[["user", "ad"]]
        log.loc[3, column] = None
        log.to_csv(tmp_path / f"seen_{split}.csv", index=False)
    (seen,) = proposed(tmp_path, tmp_path).graph.relations
    assert {*str(seen.where).split(" AND ")} == {'"user" IS NOT NULL', "ad IS NOT NULL"}
    runs(tmp_path, "--until", "partition")
