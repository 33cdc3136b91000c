"""Columns of ids and actions: by which names and values they are known, and what is said of odd ones."""

import json
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from pipeline.cli import main
from pipeline.proposal.words import stem_of
from tests.worlds.proposals import events, proposed, relations, runs, undecided


def test_logs_and_columns_in_another_script_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without their letters, both logs were one source, and people and goods one type."""
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("клики", "покупки"):
        log = events(100).drop(columns=["advertiser", "action"])
        log.rename(columns={"user": "пользователь_id", "ad": "товар_id"}).to_csv(logs / f"{name}.csv", index=False)
    config = proposed(tmp_path, logs)
    assert {one.source for one in config.graph.relations} == {*relations(config)} == {"клики", "покупки"}
    assert len({(one.lhs.type, one.rhs.type) for one in config.graph.relations}) == 1
    assert len(config.graph.entities) == 2
    found = str(undecided(capsys, tmp_path, logs))
    assert "покупки: whether покупки happens on your own site is not known" in found
    assert "пользователь_id is taken for ids of a type type_" in found
    runs(tmp_path, "--until", "partition")


def test_an_index_that_pandas_wrote_is_no_column(tmp_path: Path) -> None:
    events(60, ["click", "save"]).to_csv(tmp_path / "log.csv")
    assert {*relations(proposed(tmp_path, tmp_path / "log.csv"))} == {"click", "save", "ad_advertiser"}
    runs(tmp_path, "--until", "partition")


def test_odd_names_and_values_stay_in_their_place(tmp_path: Path) -> None:
    """Quotes, line breaks and SQL's own words, of columns and of values, neither end a comment nor a condition."""
    logs = {"log": ["it's", 'a "b"', "x\n}, danger: {"], "shop": ["checkout\n}", "it's \n}, far: {"]}
    for name, actions in logs.items():
        log = events(200, actions).rename(columns={"action": "Event Type"})
        log.to_parquet(tmp_path / f"{name}.parquet")
    config = proposed(tmp_path, tmp_path)
    assert {*config.graph.sources} == {"log"}
    assert {one.where for one in config.graph.relations} >= {
        "\"Event Type\" = 'it''s'",
        '"Event Type" = \'a "b"\'',
    }
    runs(tmp_path, "--until", "partition")


def test_actions_and_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    log = events(300, ["click", "Click", "CLICK!"])
    log["other_ad_id"] = [f"ad{row % 7}" for row in range(300)]
    log.to_parquet(tmp_path / "log.parquet")
    found = [one for one in proposed(tmp_path, tmp_path).graph.relations if one.domain == "onsite"]
    assert {(one.where, one.rhs.column) for one in found} == {
        (f"action = '{action}'", column) for action in ("click", "Click", "CLICK!") for column in ("ad", "other_ad_id")
    }


@pytest.mark.parametrize("late", ["save", "purchase"])
def test_an_action_that_comes_late_in_a_sorted_log_is_its_own_relation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    """What the sample does not have may need consent."""
    monkeypatch.setattr("partitioning.inspection.profile.SAMPLED_ROWS", 50)
    log = events(200, ["click"])
    log.loc[150:, "action"] = late
    log.to_csv(tmp_path / "log.csv", index=False)
    found = relations(proposed(tmp_path, tmp_path))
    assert found["click"].where == "action = 'click'"
    assert ("save" in found) == (late == "save") and "log" not in found


def test_actions_without_number_are_left_to_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("partitioning.inspection.profile.SAMPLED_ROWS", 50)
    log = events(200, ["view"])
    log.loc[150:, "action"] = [f"a{row}" for row in range(50)]
    log.to_csv(tmp_path / "log.csv", index=False)
    assert main(["init", str(tmp_path / "log.csv"), "--out", str(tmp_path / "mine.json")]) == 65
    assert "action has more than 40 values" in capsys.readouterr().err


@pytest.mark.parametrize("odd", ["NULL", "nan", " u3", "7.0", "-1", "unknown", None])
def test_ids_that_may_be_none_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], odd: str | None) -> None:
    log = events(60, ["view"])
    log.loc[7, "user"] = odd or "u1"
    log.to_csv(tmp_path / "log.csv", index=False, quoting=1)
    found = undecided(capsys, tmp_path, tmp_path)
    assert [line for line in found if "which are taken as they are" in line] == (
        [f"log: user has ids such as '{odd}', which are taken as they are: a `where` is yours to write"] if odd else []
    )


@pytest.mark.parametrize("name", ["log.parquet", "log.csv"])
def test_ids_beyond_signed_64_bits_are_ids(tmp_path: Path, name: str) -> None:
    """Hashes often are; graphs take them."""
    log = events(60, ["view"])
    log["user"] = pd.Series([2**64 - 8 + row % 7 for row in range(60)], dtype="uint64")
    log.to_parquet(tmp_path / name) if name.endswith("parquet") else log.to_csv(tmp_path / name, index=False)
    (view,) = (one for one in proposed(tmp_path, tmp_path / name).graph.relations if one.name == "view")
    assert (view.lhs.column, view.rhs.column) == ("user", "ad")


def test_ids_that_are_floats_and_empty_files_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = events(60, ["view"])
    log["campaign_id"], log["shop_id"] = 1.5, [Decimal(7)] * len(log)
    log.to_parquet(tmp_path / "log.parquet")
    (tmp_path / "quiet.csv").touch()
    (tmp_path / "header.csv").write_text("user,ad\n")
    found = undecided(capsys, tmp_path, tmp_path)
    assert "log: campaign_id is DOUBLE, and ids are text or whole numbers; it is not taken for one" in found
    assert any(line.startswith("log: shop_id is DECIMAL(") for line in found)
    assert "quiet: holds nothing; the source is left out" in found
    assert any(line.startswith("header: no column of ids") for line in found)


def test_ids_that_only_a_noun_says_make_a_config_that_runs(tmp_path: Path) -> None:
    """`item_no` of few values is a place in a basket; an id of the same beside `ad_id` brings nothing new."""
    log = events(200, ["view"]).rename(columns={"user": "member_no", "ad": "creative_ref", "advertiser": "floor_no"})
    log["item_no"], log["floor_no"] = [1 + row % 5 for row in range(200)], range(200)
    log.to_csv(tmp_path / "log.csv", index=False)
    (view,) = proposed(tmp_path, tmp_path / "log.csv").graph.relations
    assert (view.lhs.type, view.lhs.column) == ("member", "member_no")
    assert (view.rhs.type, view.rhs.column) == ("creative", "creative_ref")
    runs(tmp_path, "--until", "partition")
    (tmp_path / "mine.json").unlink()
    log = log.rename(columns={"member_no": "user_id"}).assign(
        creative_id=log["creative_ref"], member_no=log["member_no"]
    )
    log.to_csv(tmp_path / "log.csv", index=False)
    (view,) = proposed(tmp_path, tmp_path / "log.csv").graph.relations
    assert (view.lhs.column, view.rhs.column) == ("user_id", "creative_id")


@pytest.mark.parametrize("beside", ["store_code", "member_no", "user_hash"])
@pytest.mark.parametrize("rows", [9, 18])
def test_what_only_a_noun_says_leaves_people_and_their_answers_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], beside: str, rows: int
) -> None:
    """A table of people stays one, whose attributes are left out, and who may track them is still asked."""
    events(200).to_csv(tmp_path / "log.csv", index=False)
    people = pd.DataFrame(
        {
            "user": [f"u{row % 9}" for row in range(rows)],
            "tracking_allowed": ["yes", "no"] * (rows // 2) + ["no"] * (rows % 2),
        }
    )
    people[beside] = [f"x{row % 3}" for row in range(rows)]
    people.to_csv(tmp_path / "users.csv", index=False)
    found = undecided(capsys, tmp_path, tmp_path)
    assert any(line.startswith("users: seems to say who opted in or out") for line in found)
    assert "no part of the config reads users" in found


def test_files_that_share_no_column_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").mkdir()
    pd.DataFrame({"user_id": [1, 2], "ad_id": [1, 2]}).to_parquet(tmp_path / "log/part-1.parquet")
    pd.DataFrame({"shop": ["a", "b"]}).to_parquet(tmp_path / "log/part-2.parquet")
    assert main(["init", str(tmp_path / "log"), "--out", str(tmp_path / "mine.json")]) == 65
    lines = capsys.readouterr().err.splitlines()
    assert "transra: log: user_id is not in all files; it is not taken for one" in lines
    assert (
        "transra: log: its files share no column (user_id, ad_id, shop); expected those of one source to have the same "
        "ones, and other tables in directories of their own; the source is left out" in lines
    )


def test_what_a_number_of_an_action_means_is_left_to_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = events(60, ["view"])
    log["action"] = [1, 2, 3] * 20
    log.to_parquet(tmp_path / "log.parquet")
    assert "what the numbers of action mean is not known" in str(undecided(capsys, tmp_path, tmp_path))


def test_ids_of_several_types_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"user_id": row % 9 if row % 2 else f"u{row % 9}", "item_ids": ["i"], "ad": f"a{row % 7}"} for row in range(99)
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert main(["init", str(tmp_path / "log.jsonl"), "--out", str(tmp_path / "mine.json")]) == 65
    said = capsys.readouterr().err
    assert "user_id is JSON, and ids are" in said and "item_ids is VARCHAR[], and ids are" in said


def test_rows_without_an_id_are_left_out(tmp_path: Path) -> None:
    log = events(300, ["click", "save"])
    log.loc[log.index % 7 == 0, "ad"] = None
    log.to_csv(tmp_path / "log.csv", index=False)
    assert "ad IS NOT NULL" in str(relations(proposed(tmp_path, tmp_path / "log.csv"))["click"].where)
    runs(tmp_path, "--until", "partition")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        *(("user_id", "user"), ("userId", "user"), ("userid", "user"), ("USER_ID", "user"), ("id", ""), ("ad", "ad")),
        *(("member_no", "member"), ("customerNumber", "customer"), ("creative_ref", "creative"), ("user_hash", "user")),
        *(("adgroup_code", "adgroup"), ("ad_group_no", "ad_group"), ("order_no", "order"), ("floor_no", None)),
        *(("no", None), ("ref", None), ("country_code", None), ("page_no", None), ("num_item_no", None)),
        *(("coupon_upc", "coupon"), ("n_coupons", None), ("price", None), ("liked", None), ("valid", None)),
    ],
)
def test_names_of_columns_of_ids(column: str, expected: str | None) -> None:
    assert stem_of(column) == expected
