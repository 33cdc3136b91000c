"""What may happen off the site needs consent, by its own word or beside what does."""

import random
from pathlib import Path

import pandas as pd
import pytest

from pipeline.cli import main
from pipeline.config.loading import load_config
from tests.worlds.proposals import PEOPLE, YES_AND_NO, beside_events, events, proposed, relations, runs, undecided


def test_without_consent_what_happens_off_the_site_is_a_comment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events(200).to_csv(tmp_path / "log.csv", index=False)
    found = undecided(capsys, tmp_path, tmp_path / "log.csv")
    assert any(line.startswith("checkout: in a comment only") for line in found)
    assert '// { name: "checkout"' in (tmp_path / "told.json").read_text()


@pytest.mark.parametrize(("name", "action"), [("log", "booking"), ("pixel", "thank_you")])
def test_bookings_and_all_that_a_pixel_saw_need_consent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, action: str
) -> None:
    log = events(200)
    log.to_csv(tmp_path / "onsite.csv", index=False)
    log.assign(action=action).to_csv(tmp_path / f"{name}.csv", index=False)
    found = undecided(capsys, tmp_path, tmp_path / "onsite.csv", tmp_path / f"{name}.csv")
    assert any(action in line and "in a comment only" in line for line in found), found


@pytest.mark.parametrize(
    ("actions", "offsite"),
    [
        (["click", "reserve_now", "purchase"], {"reserve_now", "purchase"}),
        (["save", "page_view", "view", "compra", "purchase"], {"page_view", "view", "compra", "purchase"}),
        (["ad_click", "Likes", "hide", "click_here", "7", "checkout"], {"click_here", "7", "checkout"}),
        (["click", "reserve_now", "compra"], set()),
    ],
)
@pytest.mark.parametrize("agreed", [False, True])
def test_what_no_word_knows_beside_offsite_actions_needs_consent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], actions: list[str], offsite: set[str], agreed: bool
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    events(400, actions).to_parquet(logs / "events.parquet")
    if agreed:
        pd.DataFrame({"user": PEOPLE, "opted_in": YES_AND_NO["boolean"]}).to_parquet(logs / "consent.parquet")
    found = undecided(capsys, tmp_path, logs)
    config = load_config(tmp_path / "told.json")
    domains = {str(one.where).split("'")[1]: one.domain for one in config.graph.relations if one.domain != "side"}
    assert domains == {
        one: "offsite" if one in offsite else "onsite" for one in actions if agreed or one not in offsite
    }
    unknown = [one for one in actions if one in offsite - {"purchase", "checkout"}]
    said = [line for line in found if "may happen off the site" in line]
    assert bool(said) == bool(unknown) and all(one in str(said) for one in unknown)
    # the rows of what may need consent say nothing of ads either
    of_ads = {str(one.where) for one in config.graph.relations if one.domain == "side"}
    assert not any(f"'{one}'" in where for where in of_ads for one in offsite)


def test_an_action_is_offsite_in_all_files_of_a_log_or_in_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, actions in (("train", ["click", "reserve_now"]), ("valid", ["click"]), ("test", ["click", "purchase"])):
        events(90, actions).to_csv(tmp_path / f"seen_{split}.csv", index=False)
    found = [one for one in proposed(tmp_path, tmp_path).graph.relations if one.domain != "side"]
    assert [(one.name, one.domain) for one in found] == [("click", "onsite")]
    assert "seen: reserve_now may happen off the site, as purchase does" in str(undecided(capsys, tmp_path, tmp_path))


def test_of_labels_too_those_that_no_word_knows_need_consent(tmp_path: Path) -> None:
    log = events(300, ["view"]).drop(columns="action")
    draw = random.Random(0)
    log = log.assign(**{name: [draw.randrange(2) for _ in range(300)] for name in ("click", "converted", "label")})
    log.to_parquet(tmp_path / "shown.parquet")
    assert "converted" not in (found := relations(proposed(tmp_path, tmp_path))) and "label" not in found
    assert found["click"].domain == "onsite"


def test_nothing_but_offsite_events_is_refused_until_consent_is_stated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events(200, ["checkout", "signup"]).to_csv(tmp_path / "log.csv", index=False)
    assert main(["init", str(tmp_path / "log.csv"), "--out", str(tmp_path / "mine.json")]) == 65
    assert "graph.consent" in capsys.readouterr().err
    config = proposed(tmp_path, tmp_path / "log.csv", "--assume-consent", "test people")
    assert {*relations(config)} == {"checkout", "signup", "ad_advertiser"}
    assert config.graph.consent is not None
    assert config.graph.consent.assumed == "test people"


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("compra", True),
        ("покупка", True),
        ("page_view", False),
        ("1", False),
        ("long_click", False),
    ],
)
def test_actions_that_no_word_knows_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str, said: bool
) -> None:
    events(200, ["click", action]).to_csv(tmp_path / "log.csv", index=False)
    found = undecided(capsys, tmp_path, tmp_path / "log.csv")
    assert (f"log: whether {action} happens on your own site is not known" in str(found)) == said


def test_a_shop_without_consent_is_told_both_ways_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of items alone was taken for the model, and it had no events to be about."""
    logs = tmp_path / "logs"
    logs.mkdir()
    events(200, ["view", "add_to_cart", "purchase"]).to_csv(logs / "events.csv", index=False)
    pd.DataFrame({"ad": [f"ad{n}" for n in range(8)], "brand": ["a", "b", "c", "d"] * 2}).to_csv(logs / "ads.csv")
    assert main(["init", str(logs), "--out", str(tmp_path / "mine.json")]) == 65
    said = capsys.readouterr().err
    assert "all that people do in these logs would be left out" in said and "consent.csv" in said
    assert not (tmp_path / "mine.json").exists()
    config = proposed(tmp_path, logs, "--assume-consent", "our own site")
    assert {*relations(config)} == {"view", "add_to_cart", "purchase", "ad_advertiser", "ad_brand"}
    runs(tmp_path, "--until", "partition")


@pytest.mark.parametrize("agreed", [False, True])
def test_what_an_order_holds_says_nothing_of_items_without_consent(tmp_path: Path, agreed: bool) -> None:
    rows = pd.DataFrame({"order_id": [f"o{n // 2}" for n in range(60)], "ad": [f"ad{n % 8}" for n in range(60)]})
    logs = beside_events(tmp_path, order_items=rows)
    config = proposed(tmp_path, logs, *(("--assume-consent", "our own site") if agreed else ()))
    assert ("order_ad" in relations(config)) == agreed and ("order" in config.graph.entities) == agreed
