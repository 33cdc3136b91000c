"""`transra init`: what it proposes for logs of each kind, what it leaves to a person, and that what it writes runs."""

import json
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from artifacts.sources.source_files import find_files
from demo_world import WorldParameters, generate
from pipeline.cli import main
from pipeline.config.loading import load_config, parsed, validate
from pipeline.config.run_config import RunConfig
from pipeline.init import looked_at
from pipeline.proposal.consent import consent_of
from pipeline.proposal.log import Notes
from pipeline.proposal.sources import find_sources
from pipeline.proposal.words import stem_of

PEOPLE = [f"u{number}" for number in range(9)]
YES_AND_NO = {"boolean": [True, False, True] * 3, "text": ["yes", "no", "yes"] * 3, "numbers": [1, 0, 1] * 3}
QUICK = ("--set", "model.epochs=1", "--set", "model.workers=1", "--quiet")


def proposed(directory: Path, *given: Path | str) -> RunConfig:
    """The config that `init` writes for what is given."""
    out = directory / "mine.json"
    assert main(["init", *map(str, given), "--out", str(out), "--root", str(directory), "--quiet"]) == 0
    return load_config(out)


def runs(directory: Path, *more: str) -> None:
    out, root = str(directory / "mine.json"), ("--root", str(directory))
    assert main(["config", "check", out, *root, "--quiet"]) == 0
    assert main(["run", out, *root, *QUICK, *more]) == 0


def undecided(capsys: pytest.CaptureFixture[str], directory: Path, *given: Path) -> list[str]:
    out = directory / "told.json"
    assert main(["init", *map(str, given), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["undecided"]
    assert isinstance(found, list)
    return found


def relations(config: RunConfig) -> dict[str, Any]:
    return {str(one.name): one for one in config.graph.relations}


def events(rows: int, actions: Sequence[str] = ("click", "click", "save", "checkout")) -> pd.DataFrame:
    """A log as one types it by hand: every ad of one advertiser."""
    draw = random.Random(0)
    ads = [draw.randrange(8) for _ in range(rows)]
    return pd.DataFrame(
        {
            "time": [f"2026-01-{1 + row * 20 // rows:02d}T{draw.randrange(24):02d}:00:00" for row in range(rows)],
            "user": [f"u{draw.randrange(9)}" for _ in range(rows)],
            "ad": [f"ad{ad}" for ad in ads],
            "advertiser": [f"adv{ad % 3}" for ad in ads],
            "action": [draw.choice(actions) for _ in range(rows)],
        }
    )


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


def test_sources_that_nothing_reads_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = beside_events(tmp_path, people=pd.DataFrame({"user": PEOPLE}), shops=pd.DataFrame({"n": [1, 2]}))
    assert "no part of the config reads people, shops" in undecided(capsys, tmp_path, logs)


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
    ("answers", "expected"),
    [
        (["yes", "no", "yes"], {"answer": "answer", "yes": ("yes",), "no": ("no",)}),
        (["1", "0", "1"], {"answer": "answer", "yes": ("1",), "no": ("0",)}),
        (["yes", "no", "maybe"], None),
        (["A", "B", "A"], None),
    ],
)
def test_answers_are_taken_where_they_can_be_read_one_way_only(
    tmp_path: Path, answers: list[str], expected: dict[str, Any] | None
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    events(200).to_csv(logs / "events.csv", index=False)
    people = [f"u{number}" for number in range(9)]
    pd.DataFrame({"user": people, "answer": answers * 3}).to_csv(logs / "consent.csv", index=False)
    config = proposed(tmp_path, logs)
    assert ("checkout" in relations(config)) == (expected is not None)
    if expected:
        assert config.graph.consent is not None
        assert config.graph.consent.model_dump().items() >= expected.items()


def beside_events(directory: Path, **tables: pd.DataFrame) -> Path:
    """A directory with a log of which `checkout` needs consent, and tables beside it."""
    logs = directory / "logs"
    logs.mkdir()
    events(200).to_csv(logs / "events.csv", index=False)
    for name, table in tables.items():
        table.to_parquet(logs / f"{name}.parquet")
    return logs


def consent_in(directory: Path, source: str, table: pd.DataFrame) -> tuple[dict[str, Any] | None, list[str]]:
    """What `init` makes of one source, and its notes."""
    table.to_parquet(directory / f"{source}.parquet")
    return consent_at(directory / f"{source}.parquet")


def consent_at(*paths: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The same of files or directories."""
    notes = Notes()
    with ExitStack() as opened:
        logs = looked_at(find_sources(paths, paths[0].parent), opened, lambda *_: None)
        return consent_of(logs, notes).taken, notes.lines


@pytest.mark.parametrize(
    ("source", "column"),
    [
        *(("consent", "opted_in"), ("consents", "answer"), ("consent_log", "status"), ("user_consent", "granted")),
        *(("users", "opted_in"), ("users", "is_opted_in"), ("people", "optIn"), ("users", "has_consent")),
        *(("users", "consent_given"), ("users", "CONSENT"), ("opt_ins", "value"), ("users", "agreed")),
    ],
)
def test_names_that_say_consent_are_taken(tmp_path: Path, source: str, column: str) -> None:
    for kind, values in YES_AND_NO.items():
        found, notes = consent_in(tmp_path, source, pd.DataFrame({"user": PEOPLE, column: values}))
        assert found is not None, (kind, notes)
        assert found.get("where", "").strip('"') == column if kind == "boolean" else found["answer"] == column


@pytest.mark.parametrize(
    ("source", "column"),
    [
        *(("consent", "opted_out"), ("users", "opted_out"), ("users", "opt_out"), ("consent", "optout")),
        *(("users", "OptOut"), ("users", "consent_withdrawn"), ("users", "no_consent"), ("users", "noConsent")),
        *(("users", "non_consented"), ("users", "consent_required"), ("consent", "required"), ("users", "gdpr")),
        *(("consent", "consent_version"), ("gdpr_erasure", "erased"), ("gdpr", "status"), ("users", "permission")),
        *(("consent", "unsubscribed"), ("users", "unsubscribed"), ("consent", "do_not_track"), ("dnt", "value")),
        *(("users", "do_not_track"), ("opt_outs", "status"), ("opt_outs", "opted_in"), ("users", "opt")),
        *(("users", "opted"), ("consent", "in_eu"), ("unconsented", "answer"), ("consent_withdrawals", "status")),
        *(("users", "opt_in_declined"), ("users", "marketing_consent"), ("users", "email_opt_in")),
    ],
)
def test_a_name_that_may_say_the_opposite_of_consent_is_left_to_a_person(
    tmp_path: Path, source: str, column: str
) -> None:
    for values in YES_AND_NO.values():
        found, notes = consent_in(tmp_path, source, pd.DataFrame({"user": PEOPLE, column: values}))
        assert found is None
        assert [line.startswith(f"{source}: seems to say who opted in or out, but") for line in notes] == [True], notes


@pytest.mark.parametrize(
    ("source", "column"),
    [("gdpr_erasure", "consent"), ("deletion_requests", "opted_in"), ("forget", "consent"), ("users", "erased")],
)
def test_lists_of_people_to_forget_are_no_consent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, column: str
) -> None:
    table = pd.DataFrame({"user": PEOPLE, column: YES_AND_NO["boolean"]})
    found = undecided(capsys, tmp_path, beside_events(tmp_path, **{source: table}))
    assert any(line.startswith(f"{source}: seems to list whom to forget") for line in found), found
    config = load_config(tmp_path / "told.json")
    assert config.graph.consent is None and "checkout" not in relations(config)


@pytest.mark.parametrize(
    ("source", "since", "until", "taken"),
    [
        *(("consents", "since", "until", True), ("consent", "granted_at", "withdrawn_at", True)),
        *(("users", "consent_from", "consent_to", True), ("consent_intervals", "valid_from", "valid_to", True)),
        *(("opt_outs", "since", "until", False), ("users", "opt_out_from", "opt_out_to", False)),
        *(("consent_withdrawals", "from", "to", False), ("users", "no_consent_from", "no_consent_to", False)),
        *(("gdpr", "from", "to", False), ("consent", "not_from", "not_to", False)),
    ],
)
def test_intervals_are_taken_where_every_name_says_consent(
    tmp_path: Path, source: str, since: str, until: str, taken: bool
) -> None:
    days = pd.to_datetime(["2026-01-01"] * 9, utc=True)
    table = pd.DataFrame({"user": PEOPLE, since: days, until: days + pd.Timedelta(days=30)})
    found, notes = consent_in(tmp_path, source, table)
    about = {"source": source, "type": "user", "column": "user", "from_column": since, "to_column": until}
    assert (found, bool(notes)) == ((about, False) if taken else (None, True))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"opted_out": [True, False, False] * 3}, "opted_out may say consent or its opposite"),
        ({"withdrawn_at": pd.to_datetime(["2026-01-01"] * 9)}, "withdrawn_at may say otherwise"),
        ({"opt_out_reason": [f"reason {n}" for n in range(9)]}, "opt_out_reason may say otherwise"),
        ({"purpose": ["mail", "ads", "ads"] * 3}, "purpose may say otherwise than opted_in, or to what"),
        (
            {"user": ["u1", "u2", "u3"] * 3, "kind": ["mail"] * 6 + ["ads"] * 3},
            "kind may say otherwise than opted_in, or to what",
        ),
        ({"since": pd.to_datetime(["2026-01-01"] * 9), "until": pd.to_datetime(["2026-02-01"] * 9)}, "stands beside"),
        ({"ad": ["ad1", "ad2", "ad3"] * 3}, "its rows are of ad, too"),
    ],
)
def test_consent_that_a_second_column_may_change_is_left_to_a_person(
    tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    table = pd.DataFrame({"user": PEOPLE, "opted_in": YES_AND_NO["boolean"], **more})
    found, notes = consent_in(tmp_path, "consent", table)
    assert found is None and said in str(notes)


DAYS = pd.to_datetime(["2026-01-01", "2026-02-01", "2026-03-01"] * 3, utc=True)
AGAINST_TIMES = (
    *("expiration_date", "valid_till", "not_after", "removed_at", "widerruf_am", "invalid_from", "ended_at", "closed"),
    *("objected_at", "opted_out_at", "until", "end_date", "valid_from", "deleted_at", "opted_at", "left_at", "undone"),
)
AGAINST_ANSWERS = ("objected", "donotsell", "ended", "revised", "is_void", "email_verified", "active", "consent_at")
ABOUT = (
    "type",
    "kind",
    "action",
    "question",
    "purpose",
    "key",
    "name",
    "title",
    "consent_type",
    "consent_name",
    "code",
)


def limits() -> Iterator[tuple[str, str, list[Any]]]:
    """Source, column, and its values: what stands beside an answer and may turn it round, end it or limit it."""
    for source in ("consents", "users", "preferences"):
        yield from ((source, name, list(DAYS)) for name in AGAINST_TIMES)
        yield from ((source, name, values) for name in AGAINST_ANSWERS for values in YES_AND_NO.values())
        yield source, "status", ["active", "churned", "Deleted"] * 3
        yield source, "state", ["opt-out", "opt-in", "opt-in"] * 3
        yield source, "purposes", [["ads"]] * 9
        yield source, "choices", [{"ads": True}] * 9
        yield source, "purpose", ["ads"] * 9
        yield source, "source", ["app", "unsubscribe page", "app"] * 3
        yield source, "!consent_version", [f"v{n}" for n in range(9)]
        yield source, "valid_to", ["31.12.2025", "1.1.2026", "2.1.2026"] * 3
        yield source, "widerruf", ["ja", "nein", "nein"] * 3
        yield source, "paused", ["x", None, None] * 3
        yield source, "stop", [1_767_225_600, 1_767_225_601, 1_767_225_602] * 3
    for source in ("consents", "preferences"):
        yield from ((source, name, ["ads", "mail", "ads"] * 3) for name in ABOUT)
        yield source, "event", ["opt_in", "opt_out", "opt_in"] * 3
        yield source, "remark", [f"remark {n}" for n in range(9)]


@pytest.mark.parametrize(("source", "name", "values"), list(limits()))
def test_a_column_beside_an_answer_that_may_limit_it_is_said(
    tmp_path: Path, source: str, name: str, values: list[Any]
) -> None:
    table = pd.DataFrame({"user": PEOPLE, "consent": YES_AND_NO["text"], name: values})
    found, notes = consent_in(tmp_path, source, table)
    assert found is None
    assert [line.startswith(f"{source}: seems to say who opted in or out, but") and name in line for line in notes] == [
        True
    ], notes


@pytest.mark.parametrize("column", ["source", "platform", "method", "consent_text", "form", "country", "plan", "kind"])
@pytest.mark.parametrize("source", ["consents", "users"])
def test_a_column_that_differs_where_people_repeat_may_be_what_they_agreed_to(
    tmp_path: Path, source: str, column: str
) -> None:
    table = pd.DataFrame(
        {"user": ["u1", "u2", "u3"] * 3, "consent": YES_AND_NO["text"], column: ["a"] * 3 + ["b"] * 3 + ["c"] * 3}
    )
    found, notes = consent_in(tmp_path, source, table)
    assert found is None and f"{column} may say otherwise than consent, or to what" in str(notes)


def test_a_column_that_only_later_files_have_is_seen(tmp_path: Path) -> None:
    first = pd.DataFrame({"user": PEOPLE, "consent": YES_AND_NO["text"]})
    (tmp_path / "consents").mkdir()
    first.to_parquet(tmp_path / "consents" / "2025.parquet")
    first.assign(user=[f"v{n}" for n in range(9)], revoked_on=DAYS).to_parquet(tmp_path / "consents" / "2026.parquet")
    found, notes = consent_at(tmp_path / "consents")
    assert found is None and "revoked_on may say otherwise than consent, or to what" in str(notes)


def test_people_who_repeat_after_the_sample_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample is the first rows: with none of a person's second answers in it, two forms looked like one answer."""
    monkeypatch.setattr("partitioning.inspection.profile.SAMPLED_ROWS", 9)
    people = pd.DataFrame({"user": PEOPLE, "consent": YES_AND_NO["text"], "form": ["a", "b", "c"] * 3})
    table = pd.concat([people, people.assign(form="d")], ignore_index=True)
    found, notes = consent_in(tmp_path, "consents", table)
    assert found is None and "form may say otherwise than consent" in str(notes)


HARMLESS = {
    "country": ["NO", "IN", "NO"] * 3,
    "signup_date": DAYS,
    "age": list(range(20, 29)),
    "email": [f"u{n}@example.org" for n in range(9)],
    "last_login_at": DAYS,
    "plan": ["free", "paid", "free"] * 3,
    "consent_version": ["1", "1", "2"] * 3,
    "ip_hash": [f"{n:08x}" for n in range(9)],
}


@pytest.mark.parametrize(
    ("source", "more", "time"),
    [
        *(("users", HARMLESS, None), ("consent", HARMLESS, None), ("preferences", HARMLESS, None)),
        ("users", {"nickname": [f"n{n}" for n in range(9)], "hobby": ["chess", "golf", "go"] * 3}, None),
        *((source, {"source": ["app", "web", "app"] * 3}, None) for source in ("users", "consents")),
        ("consents", {"consent_id": list(range(100, 109)), "language": ["no"] * 9}, None),
        *((source, {name: DAYS}, name) for source in ("users", "consents") for name in ("updated_at", "agreed_on")),
        *(("consents", {name: DAYS}, name) for name in ("ts", "given_at", "created", "member_since", "timestamp")),
        ("consents", {"consented_at": DAYS, "last_seen_at": DAYS, **HARMLESS}, "consented_at"),
    ],
)
def test_what_says_nothing_of_an_answer_leaves_it(
    tmp_path: Path, source: str, more: dict[str, Any], time: str | None
) -> None:
    for values in YES_AND_NO.values():
        table = pd.DataFrame({"user": PEOPLE, "consent": values, **more})
        found, notes = consent_in(tmp_path, source, table)
        assert found is not None, notes
        assert (found["column"], found.get("time_column")) == ("user", time)


def test_answers_that_people_changed_are_dated_by_the_time_of_the_answer(tmp_path: Path) -> None:
    """`signup_date` came first in the order of times, and the later answer is then the first by it."""
    more = {"signup_date": DAYS[::-1], "answered_at": (DAYS + pd.Timedelta(hours=1)).as_unit("s").astype("int64")}
    table = pd.DataFrame({"user": PEOPLE, "consent": YES_AND_NO["boolean"], **more})
    later = table.assign(consent=~table["consent"], answered_at=table["answered_at"] + 60)
    config = proposed(tmp_path, beside_events(tmp_path, users=pd.concat([table, later], ignore_index=True)))
    assert config.graph.consent is not None and config.graph.consent.time_column == "answered_at"
    source = config.graph.sources["users"]
    assert (source.time_column, source.time_unit) == (None, "s")
    runs(tmp_path)


def test_intervals_beside_which_something_stands_are_left_to_a_person(tmp_path: Path) -> None:
    for name, values in {"removed_on": DAYS, "kind": ["ads", "mail", "ads"] * 3, "void": [True] * 9}.items():
        table = pd.DataFrame({"user": PEOPLE, "since": DAYS, "until": DAYS + pd.Timedelta(days=9), name: values})
        found, notes = consent_in(tmp_path, "consents", table)
        assert found is None and f"since and until are intervals, and {name} stands beside them" in str(notes)


def test_a_name_with_more_than_letters_says_nothing_for_sure(tmp_path: Path) -> None:
    for name in ("!consent", "¬consent", "-consent", "consent?", "~opted_in"):
        table = pd.DataFrame({"user": PEOPLE, name: YES_AND_NO["boolean"]})
        found, notes = consent_in(tmp_path, "users", table)
        assert found is None and f"{name} may say consent or its opposite" in str(notes)


@pytest.mark.parametrize("source", ["!consent", "¬consent", "не_consent", "ne\u0338_consent", "consent?"])
def test_a_name_of_a_source_keeps_what_may_be_a_not(tmp_path: Path, source: str) -> None:
    """As the name of a source in the config, `!consent` is `consent`."""
    found, notes = consent_in(tmp_path, source, pd.DataFrame({"user": PEOPLE, "opted_in": YES_AND_NO["boolean"]}))
    assert found is None and f"the name {source} may say consent or its opposite" in str(notes)


@pytest.mark.parametrize("source", ["не_согласие", "!users", "einwilligung_verweigert", "consentless"])
def test_consent_that_only_a_doubt_stands_against_is_one_decision_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    table = pd.DataFrame({"user": PEOPLE, "opted_in": YES_AND_NO["boolean"]})
    logs = beside_events(tmp_path, **{source: table})
    found = undecided(capsys, tmp_path, logs)
    name = source.removeprefix("!")
    said = f"{name}: seems to say who opted in or out, but the name {source} may say otherwise than opted_in"
    assert any(line.startswith(said) for line in found), found
    assert f"graph.consent as {name} alone would say it stands in a comment" in str(found)
    config = load_config(tmp_path / "told.json")
    assert config.graph.consent is None and "checkout" not in relations(config)
    # uncommented, it runs
    lines = (tmp_path / "told.json").read_text().splitlines()
    starts = ("// { name:", "//   lhs:", "// consent: {", f"// {name}: {{", f'// "{name}": {{')
    lines = [line.replace("//", "", 1) if line.strip().startswith(starts) else line for line in lines]
    (tmp_path / "mine.json").write_text("\n".join(lines))
    config = load_config(tmp_path / "mine.json")
    assert config.graph.consent is not None and config.graph.consent.source == name
    assert relations(config)["checkout"].domain == "offsite"
    runs(tmp_path, "--until", "partition")


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


def test_an_index_that_pandas_wrote_is_no_column(tmp_path: Path) -> None:
    events(60, ["click", "save"]).to_csv(tmp_path / "log.csv")
    assert {*relations(proposed(tmp_path, tmp_path / "log.csv"))} == {"click", "save", "ad_advertiser"}
    runs(tmp_path, "--until", "partition")


def test_consent_beside_a_list_that_may_say_otherwise_is_left_to_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {"consent": pd.DataFrame({"user": PEOPLE, "opted_in": True}), "opt_outs": pd.DataFrame({"user": PEOPLE})}
    found = undecided(capsys, tmp_path, beside_events(tmp_path, **tables))
    assert any("consent: says who opted in, but opt_outs may say otherwise" in line for line in found)


@pytest.mark.parametrize(
    ("name", "columns", "doubted"),
    [
        *(
            (name, {"user": PEOPLE, "at": DAYS, "reason": ["spam"] * 9}, True)
            for name in ("revocations", "withdrawals")
        ),
        *(
            (name, {"user": PEOPLE}, True)
            for name in ("unsubscribes", "blocklist", "cancelled", "objections", "churned")
        ),
        *((name, {"mail": [f"{one}@x.org" for one in PEOPLE]}, True) for name in ("removals", "suppression_list")),
        *((name, {"user": PEOPLE, "at": DAYS}, True) for name in ("widersprueche", "goodbyes", "calls_2025")),
        *((name, {"user": PEOPLE, "grund": ["spam"] * 9}, True) for name in ("widersprueche", "robinson")),
        *(("users", {"user": PEOPLE, name: DAYS}, True) for name in ("objected_at", "removed_at", "withdrawn")),
        *(
            (name, {"user": PEOPLE, "at": DAYS}, False)
            for name in ("logins", "page_views", "searches", "cancelled_orders", "payments_declined")
        ),
        *((name, {"user": PEOPLE, "at": DAYS}, True) for name in ("no_logins", "cancelled_subscriptions", "не_users")),
        ("crm", {"user": PEOPLE, "stage": ["lead", "won", "lost"] * 3}, False),
        ("crm", {"user": PEOPLE, "stage": ["lead", "opted out", "lost"] * 3}, True),
        *(
            ("users", {"user": PEOPLE, name: YES_AND_NO["boolean"]}, None)
            for name in ("tracking_allowed", "marketing_ok", "accepts_marketing", "gpc", "is_minor")
        ),
        *(
            ("users", {"user": PEOPLE, name: YES_AND_NO["boolean"]}, False)
            for name in ("is_active", "newsletter", "email_verified", "is_premium")
        ),
        *((name, {"user": PEOPLE}, False) for name in ("users", "all_customers", "user_list", "people")),
        *((name, {"user": PEOPLE, "created_at": DAYS}, False) for name in ("users", "customers", "visitor_history")),
        ("users", {"user": PEOPLE, "age": list(range(20, 29)), "hobby": ["chess"] * 9}, False),
        ("demographics", {"user": PEOPLE, "age": list(range(20, 29)), "income": ["A"] * 9}, False),
        *(
            ("saves", {"user": PEOPLE, "ad": [f"ad{n}" for n in range(9)], "action": ["save"] * 8 + [last]}, doubted)
            for last, doubted in (
                *(("save", False), ("hide", False), ("removed", False)),
                *(("opt_out", True), ("consent withdrawn", True), ("unsubscribe", True)),
            )
        ),
    ],
)
def test_a_second_source_may_list_who_withdrew(
    tmp_path: Path, name: str, columns: dict[str, Any], doubted: bool | None
) -> None:
    """None: the second source is itself taken for one of consent."""
    pd.DataFrame({"user": PEOPLE, "opted_in": YES_AND_NO["boolean"]}).to_parquet(tmp_path / "consent.parquet")
    pd.DataFrame(columns).to_parquet(tmp_path / f"{name}.parquet")
    found, notes = consent_at(tmp_path / "consent.parquet", tmp_path / f"{name}.parquet")
    source = name.removesuffix("_2025")
    said = (
        f"consent: says who opted in, but {source} may say otherwise; graph.consent is yours to write (docs/graph.md)"
    )
    of_its_own = [line for line in notes if line.startswith(f"{name}: seems to say who opted in or out, but")]
    assert bool(of_its_own) == (doubted is None)
    assert (found is None, [line for line in notes if line not in of_its_own]) == (
        doubted is not False,
        [] if doubted is False else [said],
    )


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000), ("us", 1_000_000)])
def test_the_unit_of_whole_numbers_is_seen(tmp_path: Path, unit: str, factor: int) -> None:
    log = pd.DataFrame({"ts": [(1_767_225_600 + 3600 * row) * factor for row in range(300)]})
    log["user_id"], log["item_id"] = log.index % 17, log.index % 13
    log.to_parquet(tmp_path / "views.parquet")
    source = proposed(tmp_path, tmp_path / "views.parquet").graph.sources["views"]
    assert (source.time_column, source.time_unit) == ("ts", unit)


@pytest.mark.parametrize("odd", [None, float("nan")])
@pytest.mark.parametrize(("unit", "factor"), [("s", 1.0), ("ms", 1000.0), ("us", 1_000_000.0)])
@pytest.mark.parametrize("kind", ["double", "decimal", "jsonl"])
def test_epochs_with_fractions_are_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], unit: str, factor: float, kind: str, odd: float | None
) -> None:
    """A pixel's clock: as a column of no use, its events were all training, also those of the test days."""
    times = [(1_767_225_600.125 + 3600 * row) * factor for row in range(300)]
    log = pd.DataFrame(
        {"ts": times, "user_id": [row % 17 for row in range(300)], "item_id": [r % 13 for r in range(300)]}
    )
    if odd is not None:
        log.loc[7, "ts"] = odd
    if kind == "decimal":
        log["ts"] = [Decimal(str(one)) if one == one else None for one in log["ts"]]
    if kind == "jsonl":
        log.to_json(tmp_path / "views.jsonl", orient="records", lines=True, double_precision=6)
    else:
        log.to_parquet(tmp_path / "views.parquet")
    config = proposed(tmp_path, tmp_path)
    source = config.graph.sources["views"]
    assert (source.time_column, source.time_unit) == ("ts", unit)
    assert config.graph.split.time is not None
    said = [line for line in undecided(capsys, tmp_path, tmp_path) if "1 rows have no time in ts" in line]
    assert bool(said) == (odd is not None)
    if odd is None:
        runs(tmp_path, "--until", "partition")


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        (
            "ts",
            [row + 0.5 for row in range(60)],
            "ts is named as a time is, and is DOUBLE, such as '0.5'; expected ISO",
        ),
        (
            "ts",
            pd.Series([1_767_225_600.0 + row for row in range(60)], dtype="float32"),
            "ts is named as a time is, and",
        ),
        (
            "eventTime",
            [1_767_225_600_000_000_000 + row for row in range(60)],
            "eventTime is named as a time is, and is B",
        ),
        ("time", ["31.12.2025 10:00"] * 60, "time is named as a time is, and is VARCHAR, such as '31.12.2025 10:00'"),
        ("at", [[row] for row in range(60)], "at is named as a time is, and is nested; expected ISO"),
        ("clock", [1_767_225_600.5 + row for row in range(60)], 'clock may be a time in s (time_unit: "s")'),
        ("price", [row + 0.5 for row in range(60)], None),
    ],
)
def test_what_may_be_the_time_of_a_log_without_one_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, values: Any, said: str | None
) -> None:
    (tmp_path / "logs").mkdir()
    events(200, ["click"]).to_parquet(tmp_path / "logs" / "clicks.parquet")
    log = events(60, ["save"]).drop(columns="time").assign(**{name: values})
    log.to_parquet(tmp_path / "logs" / "saves.parquet")
    found = undecided(capsys, tmp_path, tmp_path / "logs")
    assert "saves: has no time column, so all its events are training" in found
    told = [line for line in found if "time_column is yours to write, else all its events are training" in line]
    assert [line.startswith(f"saves: {said}") for line in told] == ([] if said is None else [True]), found


def test_without_times_edges_are_drawn_and_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = pd.DataFrame({"user_id": [row % 17 for row in range(300)], "item_id": [row % 13 for row in range(300)]})
    log.to_json(tmp_path / "views.jsonl", orient="records", lines=True)
    config = proposed(tmp_path, tmp_path / "views.jsonl")
    assert config.graph.split.random is not None
    assert any(line.startswith("split: no log has a time column") for line in undecided(capsys, tmp_path, tmp_path))
    runs(tmp_path, "--until", "partition")


@pytest.mark.parametrize(("lives", "said"), [(24, True), (400, False)])
def test_a_log_whose_last_days_are_all_new_gets_a_later_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lives: int, said: bool
) -> None:
    """Articles of so many hours: of a tenth of ten days nothing is known, of the last hours something is."""
    draw = random.Random(0)
    hours = [row // 50 for row in range(12_000)]
    log = pd.DataFrame({"ts": [1_767_225_600 + 3600 * hour for hour in hours]})
    log["user_id"] = [draw.randrange(50) for _ in hours]
    log["article_id"] = [max(0, hour - draw.randrange(lives)) for hour in hours]
    log.to_parquet(tmp_path / "views.parquet")
    time = proposed(tmp_path, tmp_path / "views.parquet").graph.split.time
    assert time is not None
    found = [line for line in undecided(capsys, tmp_path, tmp_path / "views.parquet") if line.startswith("split:")]
    if said:
        assert len(found) == 1 and "100% in article_id), of which nothing is known, so the test is the last" in found[0]
        assert (str(time.valid_from), str(time.test_from)) == ("2026-01-10T13:00", "2026-01-10T18:00")
    else:
        assert found == [] and str(time.valid_from) == "2026-01-08"


def test_of_a_log_whose_people_never_come_back_no_split_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said, and the split is that of any log."""
    log = pd.DataFrame({"ts": [1_767_225_600 + 300 * row for row in range(3000)]})
    log["user_id"], log["item_id"] = [row // 3 for row in range(3000)], [row % 13 for row in range(3000)]
    log.to_parquet(tmp_path / "views.parquet")
    (line,) = [one for one in undecided(capsys, tmp_path, tmp_path / "views.parquet") if one.startswith("split:")]
    assert "100% have an id that none before validation has (100% in user_id)" in line
    assert line.endswith("the evaluation will say little, whatever the split")
    time = proposed(tmp_path, tmp_path / "views.parquet").graph.split.time
    assert time is not None and str(time.valid_from) == "2026-01-09"


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


def test_actions_and_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    log = events(300, ["click", "Click", "CLICK!"])
    log["other_ad_id"] = [f"ad{row % 7}" for row in range(300)]
    log.to_parquet(tmp_path / "log.parquet")
    found = [one for one in proposed(tmp_path, tmp_path).graph.relations if one.domain == "onsite"]
    assert {(one.where, one.rhs.column) for one in found} == {
        (f"action = '{action}'", column) for action in ("click", "Click", "CLICK!") for column in ("ad", "other_ad_id")
    }


def test_files_of_a_log_keep_the_conditions_of_each(tmp_path: Path) -> None:
    for split, column in (("train", "ad"), ("valid", "user"), ("test", "ad")):
        log = events(60, ["view"])[["user", "ad"]]
        log.loc[3, column] = None
        log.to_csv(tmp_path / f"seen_{split}.csv", index=False)
    (seen,) = proposed(tmp_path, tmp_path).graph.relations
    assert {*str(seen.where).split(" AND ")} == {'"user" IS NOT NULL', "ad IS NOT NULL"}
    runs(tmp_path, "--until", "partition")


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


def test_what_a_number_of_an_action_means_is_left_to_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = events(60, ["view"])
    log["action"] = [1, 2, 3] * 20
    log.to_parquet(tmp_path / "log.parquet")
    assert "what the numbers of action mean is not known" in str(undecided(capsys, tmp_path, tmp_path))


def test_times_that_a_sample_does_not_have_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("partitioning.inspection.profile.SAMPLED_ROWS", 50)
    log = events(200, ["view"])
    log["time"] = [str(1_767_225_600 + 3600 * row) if row < 190 else "n/a" for row in range(200)]
    log.to_csv(tmp_path / "log.csv", index=False)
    assert "log: 10 rows have no time in time that can be read, and will be refused" in undecided(
        capsys, tmp_path, tmp_path
    )


def test_ids_of_several_types_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"user_id": row % 9 if row % 2 else f"u{row % 9}", "item_ids": ["i"], "ad": f"a{row % 7}"} for row in range(99)
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert main(["init", str(tmp_path / "log.jsonl"), "--out", str(tmp_path / "mine.json")]) == 65
    said = capsys.readouterr().err
    assert "user_id is JSON, and ids are" in said and "item_ids is VARCHAR[], and ids are" in said


def test_consent_with_missing_answers_is_left_to_a_person(tmp_path: Path) -> None:
    table = pd.DataFrame({"user": PEOPLE, "answer": ["yes", "no", None] * 3})
    found, notes = consent_in(tmp_path, "consent", table)
    assert found is None and "3 rows of answer have no value" in str(notes)


def test_rows_without_an_id_are_left_out(tmp_path: Path) -> None:
    log = events(300, ["click", "save"])
    log.loc[log.index % 7 == 0, "ad"] = None
    log.to_csv(tmp_path / "log.csv", index=False)
    assert "ad IS NOT NULL" in str(relations(proposed(tmp_path, tmp_path / "log.csv"))["click"].where)
    runs(tmp_path, "--until", "partition")


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


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        *(("user_id", "user"), ("userId", "user"), ("userid", "user"), ("USER_ID", "user"), ("id", ""), ("ad", "ad")),
        *(("coupon_upc", "coupon"), ("n_coupons", None), ("price", None), ("liked", None), ("valid", None)),
    ],
)
def test_names_of_columns_of_ids(column: str, expected: str | None) -> None:
    assert stem_of(column) == expected
