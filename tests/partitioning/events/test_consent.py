"""Who may be in the graph: consent is a history of answers, and whoever withdraws leaves the next map."""

import csv
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import ConfigError, DataError
from artifacts.formats.graph import load_graph
from partitioning import GraphConfig, GraphReport, build_graph
from tests.partitioning.test_errors import check, config, failure, problems, relation
from tests.worlds.partitioning_reference import edges, ids

FORMATS = ["parquet", "csv", "jsonl"]
PEOPLE = {"source": "people", "type": "user", "column": "person"}
LISTS = {**PEOPLE, "answer": "answer", "yes": ["yes"], "no": ["no"]}
TIMED = {**LISTS, "time_column": "at"}


def write(root: Path, name: str, columns: list[str], rows: list[tuple], format: str = "parquet") -> str:
    """Writes a table in a format; returns the name of its file."""
    path = root / f"{name}.{format}"
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    if format == "csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
    elif format == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        pq.write_table(pa.table({c: [record[c] for record in records] for c in columns}), path)
    return path.name


def consented(root: Path, people: list[tuple], consent: dict, format: str = "parquet", **changes) -> dict:
    """A config in which everybody bought a pin, offsite, and q viewed one; `people` are (person, answer, at)."""
    bought = [(person, f"pin of {person}", 1) for person in ("a", "b", "c", "d")]
    log = write(root, "bought", ["user", "pin", "ts"], bought)
    seen = write(root, "seen", ["user", "pin", "ts"], [("q", "p", 1)])
    listed = write(root, "people", ["person", "answer", "at"], people, format)
    when = {"time_column": "ts", "time_unit": "s"}
    return config(
        sources={
            "bought": {"path": log, **when},
            "seen": {"path": seen, **when},
            "people": {"path": listed, "time_unit": None},
        },
        relations=[
            relation(name="view", source="seen"),
            relation(name="buy", source="bought", domain="offsite", consent=consent, allow_empty=True),
        ],
        **changes,
    )


def buyers(root: Path, raw: dict, name: str = "graph", previous: str | None = None) -> set[str]:
    build(root, raw, name, previous)
    return {lhs for _, relation, lhs, _ in edges(root / name) if relation == "buy"}


def build(root: Path, raw: dict, name: str = "graph", previous: str | None = None) -> GraphReport:
    assert problems(raw) == []
    (root / name).mkdir()
    before = root / previous if previous else None
    return build_graph(GraphConfig.model_validate(raw), root, root / name, lambda step, fraction: None, before)


def held(root: Path, name: str) -> set[str]:
    graph = load_graph(root / name)
    return {id for type in ("user", "pin") for part in ids(root / name, graph, type) for id in part}


@pytest.mark.parametrize("format", FORMATS)
def test_the_latest_answer_counts(tmp_path: Path, format: str) -> None:
    people = [
        ("a", "no", "2026-01-01"),
        ("a", "yes", "2026-01-02"),
        ("b", "no", "2026-01-02T00:00:01"),
        ("b", "yes", "2026-01-02"),
        ("c", "yes", "2026-01-01"),
        ("c", "no", "2026-01-01"),
    ]
    assert buyers(tmp_path, consented(tmp_path, people, TIMED, format)) == {"a"}, "c: yes and no of one time is no"


def test_the_time_may_be_the_source_s(tmp_path: Path) -> None:
    people = [("a", "yes", 20), ("a", "no", 10), ("b", "no", 20), ("b", "yes", 10)]
    raw = consented(tmp_path, people, LISTS)
    raw["sources"]["people"] |= {"time_column": "at", "time_unit": "s"}
    assert buyers(tmp_path, raw) == {"a"}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("answers", [("yes", "no"), ("no", "yes")])
@pytest.mark.parametrize("consent", [LISTS, {**PEOPLE, "where": "answer = 'yes'"}], ids=["lists", "where"])
def test_both_answers_without_times_are_refused(tmp_path: Path, format: str, answers: tuple, consent: dict) -> None:
    people = [("b", "yes", ""), *(("a", answer, "") for answer in answers)]
    error = failure(tmp_path, consented(tmp_path, people, consent, format))
    row = 2 + answers.index("no")
    check(error, DataError, f"people.{format}, row {row}: does not agree, but another row of the same 'person' does")


@pytest.mark.parametrize("where", ["answer", "answer = true"])
def test_a_missing_answer_beside_a_yes_is_refused(tmp_path: Path, where: str) -> None:
    people = [("a", True, ""), ("a", None, ""), ("b", None, "")]
    error = failure(tmp_path, consented(tmp_path, people, {**PEOPLE, "where": where}))
    check(error, DataError, "people.parquet, row 2: does not agree, but another row")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("answer", ["YES", "yes ", "", "1", "maybe"])
def test_an_answer_that_is_not_listed_is_refused(tmp_path: Path, format: str, answer: str) -> None:
    error = failure(tmp_path, consented(tmp_path, [("a", "yes", "1"), ("b", answer, "1")], LISTS, format))
    check(error, DataError, f"people.{format}, row 2: ")
    check(error, DataError, "'answer'" if format == "csv" and not answer else f"has '{answer}'; expected one of")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("stray", ["t", "maybe", "no"])
def test_answers_are_texts_whatever_else_is_listed(tmp_path: Path, format: str, stray: str) -> None:
    people = [("a", "yes", ""), ("b", "YES", ""), ("c", "no", ""), ("d", stray, "")]
    raw = consented(tmp_path, people, {**PEOPLE, "where": "answer = 'yes'"}, format)
    assert buyers(tmp_path, raw) == {"a"}


@pytest.mark.parametrize(
    ("at", "told"),
    [(None, "no value in column 'at'"), (0, "column 'at' has '0'"), (-5, "'-5'"), (7_300_000_000, "before 2200")],
)
def test_an_answer_needs_a_time_that_can_be_meant(tmp_path: Path, at: int | None, told: str) -> None:
    raw = consented(tmp_path, [("a", "yes", 20), ("a", "no", at)], TIMED)
    raw["sources"]["people"]["time_unit"] = "s"
    raw["sources"]["people"]["time_column"] = "at"
    check(failure(tmp_path, raw), DataError, "people.parquet, row 2: ", told)


def test_other_questions_of_the_same_source_are_not_looked_at(tmp_path: Path) -> None:
    people = [("a", "yes", "ads"), ("a", "no", "mail"), ("b", "no", "ads"), ("b", "yes", "mail"), ("c", "x", "mail")]
    assert buyers(tmp_path, consented(tmp_path, people, {**LISTS, "about": "\"at\" = 'ads'"})) == {"a"}
    raw = consented(tmp_path, people, {**PEOPLE, "where": "answer = 'yes'", "about": "\"at\" = 'ads'"})
    assert buyers(tmp_path, raw, "again") == {"a"}


def test_an_answer_of_nobody_is_none(tmp_path: Path) -> None:
    assert buyers(tmp_path, consented(tmp_path, [("a", "yes", ""), (None, "no", ""), ("B", "yes", "")], LISTS)) == {"a"}


@pytest.mark.parametrize(
    ("consent", "key", "message"),
    [
        ({**PEOPLE, "answer": "x", "yes": ["y"]}, "no", "expected at least one answer"),
        ({**PEOPLE, "answer": "x", "no": ["n"]}, "yes", "expected at least one answer"),
        ({**PEOPLE, "yes": ["y"]}, "yes", "has no meaning without answer"),
        ({**LISTS, "where": "answer = 'yes'"}, "where", "remove one of both"),
        ({**LISTS, "no": ["no", "yes"]}, "no", "'yes' is listed as yes, too"),
    ],
)
def test_configs_that_cannot_be_meant(tmp_path: Path, consent: dict, key: str, message: str) -> None:
    ((path, found),) = problems(consented(tmp_path, [("a", "yes", "")], consent))
    assert path == ("relations", 1, "consent", key) and message in found


def test_a_relation_that_is_empty_for_want_of_consent_says_so(tmp_path: Path) -> None:
    """A list of answers that broke looks like a log that is empty, and `allow_empty` would publish without it."""
    raw = consented(tmp_path, [("a", "no", ""), ("b", "no", "")], LISTS)
    raw["relations"][1]["allow_empty"] = False
    check(failure(tmp_path, raw), DataError, "'buy' has no edges (source bought); 4 rows are of people who did not")


def test_an_unknown_column_of_answers(tmp_path: Path) -> None:
    error = failure(tmp_path, consented(tmp_path, [("a", "yes", "")], {**LISTS, "answer": "anwser"}))
    check(error, ConfigError, "graph.relations[1].consent.answer: source 'people' has no column 'anwser'", "'answer'?")


@pytest.mark.parametrize("format", FORMATS)
def test_whoever_withdraws_leaves_the_next_map(tmp_path: Path, format: str) -> None:
    everybody = [(person, "yes", "") for person in "abc"]
    assert buyers(tmp_path, consented(tmp_path, everybody, LISTS, format), "first") == {"a", "b", "c"}
    withdrawn = [("a", "yes", ""), ("b", "no", "")]
    assert buyers(tmp_path, consented(tmp_path, withdrawn, LISTS, format), "second", "first") == {"a"}
    assert held(tmp_path, "second") == {"a", "pin of a", "q", "p"}, (
        "nor what only they bought, nor c, who is on no list"
    )
    statistics = json.loads((tmp_path / "second/statistics.json").read_text())
    assert {type: one["absent"] for type, one in statistics["entities"].items()} == {"user": 0, "pin": 0}


def test_what_left_stays_away_when_its_relation_is_gone(tmp_path: Path) -> None:
    buyers(tmp_path, consented(tmp_path, [("a", "yes", "")], LISTS), "first")
    raw = consented(tmp_path, [("a", "yes", "")], LISTS)
    raw["relations"] = raw["relations"][:1]
    build(tmp_path, raw, "second", "first")
    assert held(tmp_path, "second") == {"q", "p"}


def test_offsets_stay_but_for_those_that_fill_gaps(tmp_path: Path) -> None:
    buyers(tmp_path, consented(tmp_path, [(person, "yes", "") for person in "abcd"], LISTS, partitions=1), "first")
    before = ids(tmp_path / "first", load_graph(tmp_path / "first"), "user")[0]
    buyers(tmp_path, consented(tmp_path, [(p, "yes", "") for p in "abc"], LISTS, partitions=1), "second", "first")
    after = ids(tmp_path / "second", load_graph(tmp_path / "second"), "user")[0]
    assert sorted(after) == ["a", "b", "c", "q"]
    assert sum(before[at] != id for at, id in enumerate(after)) <= 1


def test_assumed_consent_leaves_the_map_as_it_was(tmp_path: Path) -> None:
    assumed = consented(tmp_path, [("a", "yes", "")], {"assumed": "a test"})
    build(tmp_path, assumed, "first")
    write(tmp_path, "bought", ["user", "pin", "ts"], [("a", "pin of a", 1)])
    build(tmp_path, assumed, "second", "first")
    assert held(tmp_path, "second") == held(tmp_path, "first")


def test_an_append_only_log_whose_people_withdraw(tmp_path: Path) -> None:
    raw = consented(tmp_path, [("a", "yes", ""), ("b", "yes", "")], LISTS)
    raw["sources"]["bought"]["append_only"] = True
    build(tmp_path, raw, "first")
    write(tmp_path, "people", ["person", "answer", "at"], [("a", "yes", ""), ("b", "no", "")])
    report = build(tmp_path, raw, "second", "first")
    assert report.files_settled == 0 and report.recounted
    assert held(tmp_path, "second") == {"a", "pin of a", "q", "p"}


def forgetting(root: Path, rows: list[tuple], format: str = "csv", **changes) -> dict:
    """The same world with everybody's consent and a list of ids to forget, (type, id)."""
    raw = consented(root, [(person, "yes", "") for person in "abcd"], LISTS, **changes)
    raw["sources"]["gone"] = {"path": write(root, "gone", ["type", "id"], rows, format)}
    return {**raw, "forget": {"source": "gone"}}


@pytest.mark.parametrize(
    "where", ["answer > 0.5", "ANSWER <> 0", "answer = 1", "NOT answer = 0", "answer = 2 OR person < 'c'"]
)
def test_an_answer_that_is_nan_is_none(tmp_path: Path, where: str) -> None:
    """DuckDB says that it is more than any number."""
    people = [("a", 1.0, ""), ("b", math.nan, ""), ("c", 0.0, "x")]
    assert buyers(tmp_path, consented(tmp_path, people, {**PEOPLE, "where": where})) == {"a"}


@pytest.mark.parametrize(
    ("answers", "where"),
    [
        (["1", "nan", "0"], "CAST(answer AS DOUBLE) > 0.5"),
        (["1", "nan", "other"], "CASE WHEN answer = 'other' THEN false ELSE CAST(answer AS DOUBLE) > 0.5 END"),
        ([{"score": 1.0}, {"score": math.nan}, {"score": 0.0}], "answer.score > 0.5"),
        ([[1.0], [math.nan], [0.0]], "answer[1] > 0.5"),
        ([[1, 1], [0, 0], [0, 1]], "answer[1] / answer[2] > 0.5"),
    ],
)
def test_an_answer_that_is_computed_as_nan_is_none(tmp_path: Path, answers: list, where: str) -> None:
    people = [(person, answer, "") for person, answer in zip("abc", answers, strict=True)]
    assert buyers(tmp_path, consented(tmp_path, people, {**PEOPLE, "where": where})) == {"a"}


def test_an_answer_is_none_where_nan_says_what_it_is_about(tmp_path: Path) -> None:
    people = [("a", "yes", 2.0), ("b", "yes", math.nan), ("c", "yes", 1.0)]
    assert buyers(tmp_path, consented(tmp_path, people, {**LISTS, "about": '"at" >= 2'})) == {"a"}


@pytest.mark.parametrize("listed", [2, "2"])
def test_ids_of_one_column_of_numbers_are_forgotten(tmp_path: Path, listed: int | str) -> None:
    """They are told apart before they are text, and forgotten as text."""
    write(tmp_path, "log", ["user", "pin", "ts"], [(user, "p", 1) for user in (1, 2, 2, 3)])
    sources = {**config()["sources"], "gone": {"path": write(tmp_path, "gone", ["type", "id"], [("user", listed)])}}
    for name, previous in (("first", None), ("second", "first")):
        report = build(tmp_path, config(sources=sources, forget={"source": "gone"}), name, previous)
        assert report.forgotten == {"user": {"found": 1, "not_found": 0}}
        assert held(tmp_path, name) == {"1", "3", "p"}


@pytest.mark.parametrize("format", FORMATS)
def test_a_list_says_what_it_found(tmp_path: Path, format: str) -> None:
    raw = forgetting(tmp_path, [("user", "a"), ("user", "a"), ("user", "nobody"), ("pin", "p")], format)
    raw["relations"][0]["allow_empty"] = True
    report = build(tmp_path, raw, "first")
    assert report.forgotten == {"pin": {"found": 1, "not_found": 0}, "user": {"found": 1, "not_found": 1}}
    assert not {"a", "p"} & held(tmp_path, "first")


def test_ids_are_found_in_the_previous_map_too(tmp_path: Path) -> None:
    build(tmp_path, consented(tmp_path, [("a", "yes", "")], {"assumed": "a test"}), "first")
    raw = {**forgetting(tmp_path, [("user", "d")]), "consent": None}
    raw["relations"][1]["consent"] = {"assumed": "a test"}
    write(tmp_path, "bought", ["user", "pin", "ts"], [("a", "pin of a", 1)])
    assert build(tmp_path, raw, "second", "first").forgotten == {"user": {"found": 1, "not_found": 0}}
    assert build(tmp_path, raw, "third", "second").forgotten == {"user": {"found": 0, "not_found": 1}}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (("user", "a "), "the id has spaces around, and no user is called so"),
        (("user", "\ta"), "has spaces around"),
        (("user", "pin of a"), "no user has this id, but a pin has"),
        (("pin", "b"), "no pin has this id, but a user has"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused(tmp_path: Path, format: str, entry: tuple, told: str) -> None:
    error = failure(tmp_path, forgetting(tmp_path, [("user", "b"), entry], format))
    check(error, DataError, f"gone.{format}, row 2: ", told)


def test_types_that_share_ids_are_not_compared(tmp_path: Path) -> None:
    raw = forgetting(tmp_path, [("pin", "b")])
    write(tmp_path, "seen", ["user", "pin", "ts"], [("q", "a", 1)])
    assert build(tmp_path, raw, "graph").forgotten == {"pin": {"found": 0, "not_found": 1}}


def test_an_id_with_spaces_that_is_there_is_forgotten(tmp_path: Path) -> None:
    raw = forgetting(tmp_path, [("pin", " p ")])
    write(tmp_path, "seen", ["user", "pin", "ts"], [("q", " p ", 1), ("q", "x", 1)])
    build(tmp_path, raw, "graph")
    assert " p " not in held(tmp_path, "graph")
