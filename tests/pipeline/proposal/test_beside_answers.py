"""What stands beside an answer of consent, a column or another source, and may turn it round, end it or limit it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.worlds.proposals import PEOPLE, YES_AND_NO, beside_events, consent_at, consent_in, proposed, runs


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
