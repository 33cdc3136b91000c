"""A bare `uid` is of the people whose ids it holds, or left to a person."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.config.loading import load_config
from tests.worlds.proposals import PEOPLE, events, proposed, relations, runs, undecided


def with_pixel(directory: Path, ids: Sequence[Any], strangers: Sequence[Any] = (), **columns: Any) -> Path:
    """A site's log, its people with their consent, and a pixel that calls people `uid`."""
    logs = directory / "logs"
    logs.mkdir()
    draw, every = random.Random(0), [*ids, *strangers]
    clicks = events(200, ["click"]).assign(user=[draw.choice(ids) for _ in range(200)])
    clicks.to_parquet(logs / "events.parquet")
    pd.DataFrame({"user_id": ids, "opted_in": [True] * len(ids)}).to_parquet(logs / "users.parquet")
    pixel = events(200, ["purchase"]).drop(columns=["user", "advertiser"])
    pixel.assign(uid=[every[row % len(every)] for row in range(200)], **columns).to_parquet(logs / "pixel.parquet")
    return logs


@pytest.mark.parametrize("ids", [PEOPLE, list(range(9))])
def test_a_bare_uid_is_of_the_people_whose_ids_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ids: list[Any]
) -> None:
    logs = with_pixel(tmp_path, ids)
    purchase = relations(config := proposed(tmp_path, logs))["purchase"]
    assert (purchase.lhs.type, purchase.lhs.column, purchase.domain) == ("user", "uid", "offsite")
    assert config.graph.consent is not None and config.graph.consent.source == "users"
    assert "pixel: uid is taken for user, since 9 of 9 are ids of user" in undecided(capsys, tmp_path, logs)
    runs(tmp_path, "--until", "partition")


def test_a_uid_of_strangers_is_left_to_a_person_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = with_pixel(tmp_path, PEOPLE, [f"x{n}" for n in range(20)])
    found = undecided(capsys, tmp_path, logs)
    assert (
        "pixel: uid is of a type of its own, pixel; where it is of people (9 of 29 are ids of user), "
        'write type: "user" for it' in found
    )
    assert any(
        "purchase: in a comment only" in one and 'write type: "user" for it and uncomment' in one for one in found
    )
    assert "no part of the config reads pixel" in found
    # one correction, and it runs
    lines = (tmp_path / "told.json").read_text().splitlines()
    at = next(at for at, line in enumerate(lines) if '// { name: "purchase"' in line)
    lines[at : at + 2] = [
        line.replace("// ", "").replace('type: "pixel"', 'type: "user"') for line in lines[at : at + 2]
    ]
    source = '    pixel: { path: "logs/pixel.parquet", time_column: "time" },'
    lines.insert(next(at for at, line in enumerate(lines) if "sources: {" in line) + 1, source)
    (tmp_path / "mine.json").write_text("\n".join(lines))
    assert relations(load_config(tmp_path / "mine.json"))["purchase"].lhs.type == "user"
    runs(tmp_path, "--until", "partition")


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("ads", "uid", list(range(9))),  # numbers of ads, that are numbers of people as well
        ("ads", "id", [f"ad{n}" for n in range(9)]),
        ("pixel", "id", list(range(9))),  # whole numbers of rows
    ],
)
def test_ids_of_other_things_are_no_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, column: str, values: list[Any]
) -> None:
    logs = with_pixel(tmp_path, list(range(9)))
    pd.DataFrame({column: values, "topic": ["a", "b", "c"] * 3}).to_parquet(logs / f"{table}.parquet")
    found = undecided(capsys, tmp_path, logs)
    assert not [line for line in found if line.startswith(f"{table}: {column} is")]


def test_a_uid_is_not_given_to_one_of_two_kinds_of_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = with_pixel(tmp_path, PEOPLE)
    pd.DataFrame({"customer": PEOPLE, "ad": [f"ad{n % 8}" for n in range(9)]}).to_parquet(logs / "saves.parquet")
    found = undecided(capsys, tmp_path, logs)
    said = "9 of 9 are ids of user, 9 of 9 are ids of customer"
    assert any(f'({said}), write type: "user" or type: "customer" for it' in line for line in found), found
