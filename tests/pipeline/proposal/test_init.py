"""`transra init`: what it proposes for whole logs runs, and what it is given or asked for is refused in a line."""

import re
from pathlib import Path

import pandas as pd
import pytest

from demo_world import WorldParameters, generate
from pipeline.cli import main
from pipeline.config.loading import parsed, validate
from tests.worlds.proposals import PEOPLE, beside_events, events, proposed, relations, runs, undecided


def test_a_csv_of_fifty_lines_runs(tmp_path: Path) -> None:
    events(50).to_csv(tmp_path / "mine.csv", index=False)
    config = proposed(tmp_path, tmp_path / "mine.csv")
    found = relations(config)
    assert list(found) == ["click", "save", "ad_advertiser"]
    assert found["click"].where == "action = 'click'"
    assert (found["click"].lhs.type, found["click"].rhs.type) == ("user", "ad")
    # rows of offsite events say nothing of ads either, as long as nobody agreed
    assert found["ad_advertiser"].where == "action IN ('click', 'save')"
    assert config.graph.sources["mine"].path == "mine.csv"
    assert config.graph.split.time is not None
    assert config.trained.anchors == ("click", "save")
    runs(tmp_path)


def test_the_demo_world_gives_its_config_again(tmp_path: Path) -> None:
    generate(tmp_path / "demo", WorldParameters(users=1000, impressions=2000), lambda count: None)
    config = proposed(tmp_path, tmp_path / "demo")
    found = relations(config)
    assert {"click", "save", "hide", "checkout", "signup", "pin_advertiser", "item_merchant"} <= {*found}
    assert "impression" not in found
    assert "impressions" not in config.graph.sources
    assert {one for one in found if found[one].domain == "offsite"} == {
        *("page_visit", "add_to_cart", "checkout", "signup"),
    }
    assert found["signup"].rhs.type == "advertiser"
    assert config.graph.consent is not None
    assert (config.graph.consent.source, config.graph.consent.where) == ("consent", "opted_in")
    assert "hide" not in config.trained.anchors
    # conversions of people who did not agree must not say which advertiser an item has
    assert not [one for one in found.values() if one.domain == "side" and one.source == "conversions"]
    runs(tmp_path)


@pytest.mark.parametrize("name", ["amazon_grocery", "complete_journey", "globo_clicks", "multibehavior_tmall"])
def test_real_data_sets_get_a_config_that_is_good(shared_data: Path, tmp_path: Path, name: str) -> None:
    if not (shared_data / name).is_dir():
        pytest.skip(f"{name} is not at {shared_data}")
    config = proposed(tmp_path, shared_data / name)
    assert config.graph.split != type(config.graph.split)()
    assert main(["config", "check", str(tmp_path / "mine.json"), "--root", str(tmp_path), "--quiet"]) == 0
    if name == "amazon_grocery":
        runs(tmp_path, "--until", "partition")


def test_a_log_without_ids_is_refused(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Criteo's sample has no users and no ads: nothing joins anything."""
    logs = shared_data / "criteo_attribution_1pct"
    if not logs.is_dir():
        pytest.skip(f"there is no {logs}")
    assert main(["init", str(logs), "--out", str(tmp_path / "mine.json")]) == 65
    assert "no column of ids was found among row_in_full_log" in capsys.readouterr().err
    assert not (tmp_path / "mine.json").exists()


def test_sources_that_nothing_reads_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = beside_events(tmp_path, people=pd.DataFrame({"user": PEOPLE}), shops=pd.DataFrame({"n": [1, 2]}))
    assert "no part of the config reads people, shops" in undecided(capsys, tmp_path, logs)


def test_relations_in_comments_have_their_sources_and_types_there_too(tmp_path: Path) -> None:
    """A person who uncomments one need not look for the rest."""
    logs = tmp_path / "logs"
    logs.mkdir()
    events(60, ["click"]).to_csv(logs / "clicks.csv", index=False)
    orders = events(60, ["checkout"]).rename(columns={"ad": "sku_id", "time": "ordered_at"})
    orders.drop(columns=["advertiser", "action"]).to_csv(logs / "checkouts.csv", index=False)
    config = proposed(tmp_path, logs)
    assert {*config.graph.sources} == {"clicks"} and "sku" not in config.graph.entities
    text = (tmp_path / "mine.json").read_text()
    assert "// of relations in comments: sku: {}" in text
    open = re.sub(r"// of relations in comments: (.*)", r"", text).replace(
        "advertiser: {} }", "advertiser: {}, sku: {} }"
    )
    raw = parsed(re.sub(r"(?m)^( +)// (?=checkouts: |\{ name|  lhs)", r"\1", open))
    raw["graph"]["consent"] = {"assumed": "all agreed"}
    found = validate(raw)
    assert found.graph.sources["checkouts"].time_column == "ordered_at"
    assert relations(found)["checkouts"].rhs.type == "sku"


def test_a_side_relation_of_log_and_table_is_proposed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the table, which has ads that nobody clicked, too; what only the log says stays."""
    log, logs = events(200, ["click"]), tmp_path / "logs"
    logs.mkdir()
    log.assign(topic=log["ad"].map(lambda ad: f"t{int(ad[2:]) % 3}")).to_csv(logs / "events.csv", index=False)
    table = pd.DataFrame({"ad": [f"ad{ad}" for ad in range(20)], "advertiser": [f"a{ad % 4}" for ad in range(20)]})
    table.to_csv(logs / "ads.csv", index=False)
    found = relations(proposed(tmp_path, logs))
    assert {name: one.sources for name, one in found.items()} == {
        **{"click": ["events"], "ad_topic": ["events"], "ad_advertiser": ["ads"]}
    }
    assert "ad_advertiser: read from ads alone, though events holds it, too" in undecided(capsys, tmp_path, logs)
    runs(tmp_path)


@pytest.mark.parametrize(("ending", "can"), [("parquet", "can read it"), ("csv", "can read it as Parquet")])
def test_impressions_are_left_to_the_ranker_which_reads_parquet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str, can: str
) -> None:
    logs = beside_events(tmp_path)
    shown = pd.DataFrame({"user": PEOPLE, "ad": [f"ad{n % 8}" for n in range(9)], "click": [0, 1, 0] * 3})
    (shown.to_parquet if ending == "parquet" else shown.to_csv)(logs / f"shown.{ending}", index=False)
    line = f"shown: left out of the graph, since other logs hold the events: a section `ranker` {can}"
    assert line in undecided(capsys, tmp_path, logs)


def test_without_a_command_three_lines_say_what_to_do_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        *("transra init LOGS", "transra run configs/mine.json", "transra --help"),
    ]


def test_a_file_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events(50).to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "mine.json").write_text("mine")
    assert main(["init", str(tmp_path / "log.csv"), "--out", str(tmp_path / "mine.json")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "mine.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.csv", "1,2,2026-01-01\n3,4,2026-01-02\n", "expected a header"),
        ("log.csv", "", "the file is empty"),
        ("log.parquet", "user_id\n", "is not a Parquet file"),
        ("log.csv", "user_id,n\nu1,2\n", "no relation can be proposed"),
        ("log.txt", "user_id,ad_id\n", "expected a file that ends with"),
    ],
)
def test_what_is_no_log_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    assert main(["init", str(tmp_path / name), "--out", str(tmp_path / "mine.json")]) == 65
    assert said in capsys.readouterr().err
    assert not (tmp_path / "mine.json").exists()
