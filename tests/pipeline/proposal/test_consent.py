"""Who opted in: names and answers that can be read one way only, and all others are left to a person."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.config.loading import load_config
from tests.worlds.proposals import (
    PEOPLE,
    YES_AND_NO,
    beside_events,
    consent_in,
    events,
    proposed,
    relations,
    runs,
    undecided,
)


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


def test_consent_beside_a_list_that_may_say_otherwise_is_left_to_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {"consent": pd.DataFrame({"user": PEOPLE, "opted_in": True}), "opt_outs": pd.DataFrame({"user": PEOPLE})}
    found = undecided(capsys, tmp_path, beside_events(tmp_path, **tables))
    assert any("consent: says who opted in, but opt_outs may say otherwise" in line for line in found)


def test_consent_with_missing_answers_is_left_to_a_person(tmp_path: Path) -> None:
    table = pd.DataFrame({"user": PEOPLE, "answer": ["yes", "no", None] * 3})
    found, notes = consent_in(tmp_path, "consent", table)
    assert found is None and "3 rows of answer have no value" in str(notes)
