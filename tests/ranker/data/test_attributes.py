"""Slots that are attributes of other slots' ids, by a relation of the graph: read as a column of the log would be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.embeddings import Embeddings
from artifacts.errors import ConfigError, DataError
from artifacts.formats.graph import Bucket, EntityType, Graph, Relation, bucket_path, load_graph, save_graph
from artifacts.pseudonyms import pseudonyms
from ranker import (
    RankerConfig,
    Scorer,
    check_columns,
    check_unseen,
    fit,
    impression_files,
    rank,
    score_parquet,
    write_features,
)
from ranker.data.ids.attributes import Attributes, attribute_rows
from ranker.data.ids.exports import Export
from ranker.data.log.block import LogBlock
from ranker.data.log.forgotten import Forgotten
from ranker.data.log.impression_log import ImpressionLog
from ranker.data.log.windows import Windows
from ranker.data.prepare import prepare
from ranker.data.records import Split
from ranker.scoring.encoder import Encoded, Encoder
from tests.worlds.small_impressions import (
    CAP,
    DIMENSION,
    PINS,
    SLOTS,
    START,
    SmallWorld,
    config,
    small_world,
    write_export,
)

TOPICS = 7
OF_PIN = [pin * pin % TOPICS for pin in range(PINS)]
NO_TOPIC = 5  # a pin of which the graph says none
DERIVED = {
    **SLOTS,
    "recent_topics": {"type": "topic", "side": "user", "cap": CAP, "of": "recent", "via": "pin_topic"},
    "topic": {"type": "topic", "side": "ad", "of": "pin_id", "via": "pin_topic"},
}
STORED = {
    **SLOTS,
    "recent_topics": {"type": "topic", "side": "user", "cap": CAP},
    "topic": {"type": "topic", "side": "ad"},
}


def write_graph(directory: Path, turned: bool) -> None:
    """Pins in two partitions, topics in one; `turned`: the relation leads from the topic to the pin."""
    half = PINS // 2
    types = (EntityType("user", (400,)), EntityType("pin", (half, PINS - half)), EntityType("topic", (TOPICS,)))
    ends = ("topic", "pin") if turned else ("pin", "topic")
    relations = (Relation("click", "user", "pin", "onsite", {}), Relation("pin_topic", *ends, "side", {}))
    directory.mkdir()
    graph = Graph(types, relations, {}, (START - 9, START - 1))
    save_graph(directory, graph)
    edges: dict[Bucket, list[tuple[int, int, int]]] = {bucket: [(0, 0, 0)] for bucket in graph.buckets()}
    for pin, topic in enumerate(OF_PIN):
        part, offset = divmod(pin, half)
        if pin != NO_TOPIC:
            bucket, edge = (Bucket(0, part), (topic, offset, 1)) if turned else (Bucket(part, 0), (offset, topic, 1))
            edges[bucket] += [edge, (edge[0], edge[1], 1)]
    for bucket, found in edges.items():
        path = bucket_path(directory, "train", bucket)
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            for name, values in zip(("lhs", "rhs", "rel"), np.array(found, np.int64).T, strict=True):
                file[name] = values


@pytest.fixture(params=[False, True], ids=["head", "tail"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> SmallWorld:
    world = small_world(tmp_path, rows=3000)
    world.columns["recent"][3] = None
    world.write()
    rng = np.random.default_rng(1)
    counts = {"user": 380, "pin": PINS, "topic": TOPICS}
    write_export(world.export, {name: rng.normal(size=(count, DIMENSION)) for name, count in counts.items()})
    write_graph(world.root / "graph", request.param)
    return world


def exports(world: SmallWorld) -> dict[str, Export]:
    return {"base": Export(world.export, START - 1, world.root / "graph")}


def with_columns(world: SmallWorld, gone: frozenset[str] = frozenset()) -> None:
    """Writes the log with columns of what the graph says."""

    def topic(pin: str | None) -> str | None:
        known = pin is not None and pin not in gone and pin != f"p{NO_TOPIC}"
        return f"t{OF_PIN[int(pin[1:])]}" if known and pin else None

    listed = [None if pins is None else [topic(pin) for pin in pins] for pins in world.columns["recent"]]
    world.write(recent_topics=listed, topic=[topic(pin) for pin in world.columns["pin_id"]])


def records(world: SmallWorld, settings: RankerConfig, forgotten: Forgotten) -> dict[str, np.ndarray]:
    attributes = Attributes.of(settings, exports(world), forgotten)
    log = ImpressionLog(settings, world.root, None, forgotten, attributes=attributes)
    directory = world.root / f"prepared-{len(settings.derived_slots)}"
    opened = {"base": Embeddings(world.export)}
    summary = prepare(log, Windows.of(log), opened, "key", directory, lambda text, done: None)
    splits = {name: Split.of(directory, name, summary) for name in ("train", "valid", "test")}
    return {name: split.read(0, len(split)) for name, split in splits.items()}


def settings(slots: dict[str, Any], **changes: Any) -> RankerConfig:
    return config(slots=slots, counts=[["topic"], ["user_id", "topic"]], **changes)


@pytest.mark.parametrize("forgotten", [Forgotten(), Forgotten.of({"pin": ["p7", "p8"], "topic": ["t4"]})])
@pytest.mark.parametrize("policy", ["refuse", "drop"])
def test_records_are_those_of_a_log_with_the_columns(world: SmallWorld, forgotten: Forgotten, policy: str) -> None:
    """Counts by an attribute, too."""
    assert check_columns(settings(DERIVED), world.root) == []
    found = records(world, settings(DERIVED, on_bad_rows=policy), forgotten)
    with_columns(world, frozenset({"p7", "p8"} if forgotten.ids else ()))
    expected = records(world, settings(STORED, on_bad_rows=policy), forgotten)
    for split, rows in expected.items():
        assert len(rows) and found[split].tobytes() == rows.tobytes(), split


@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["ids", "pseudonyms"])
@pytest.mark.parametrize("policy", ["refuse", "drop"])
def test_times_are_compared_with_a_graph_that_has_no_vectors_yet(
    world: SmallWorld, policy: str, key: bytes | None
) -> None:
    """As `rank` will: attributes are not known, and impressions of users to forget do not count."""
    early = pa.array(sorted(set(world.columns["user_id"][:5])))
    forgotten = (early if key is None else pseudonyms(early, key)).to_pylist()
    kept = [user not in set(early.to_pylist()) for user in world.columns["user_id"]]
    first = int(world.columns["ts"][kept].min())
    chosen = settings(DERIVED, on_bad_rows=policy)
    graphs, files = {"base": world.root / "graph"}, impression_files(chosen, world.root)
    graph = load_graph(graphs["base"])

    def check(end: int) -> None:
        save_graph(graphs["base"], replace(graph, window=(START - 9, end)))
        check_unseen(chosen, world.root, graphs, {"user": forgotten, "topic": ["t4"]}, key, files)

    check(first - 1)
    with pytest.raises(ConfigError, match="it has seen the labels"):
        check(first)


def test_features_match_the_topic_of_the_last_pin_with_the_ads(world: SmallWorld) -> None:
    table = features(world, settings(DERIVED))
    with_columns(world)
    assert table.equals(features(world, settings(STORED)))
    lasts, columns = table["match_recent_topics_topic_last"].to_pylist(), world.columns
    named = 0
    for last, pins, pin in zip(lasts, columns["recent"], columns["pin_id"], strict=True):
        if pins and f"p{NO_TOPIC}" not in (pins[0], pin):
            assert last == (OF_PIN[int(pins[0][1:])] == OF_PIN[int(pin[1:])])
            named += last
    assert named > 100


def features(world: SmallWorld, chosen: RankerConfig) -> pa.Table:
    out = world.root / "f.parquet"
    write_features(chosen, world.root, exports(world), out, lambda step, done: None)
    return pq.read_table(out)


def test_arms_are_ranked_with_them(world: SmallWorld) -> None:
    arms = {"none": {}, "attention": {"ids": True, "vectors": "attention"}}
    (world.root / "out").mkdir()
    report = rank(
        settings(DERIVED, arms=arms), world.root, exports(world), world.root / "out", lambda *told: None, world.root
    )
    assert set(report["arms"]) == set(arms) and report["match_rates"]["base"]["topic"]["traffic"] == 1


def test_of_several_attributes_one_counts(world: SmallWorld) -> None:
    graph = world.root / "graph"
    saved = attribute_rows(graph, _graph(graph), "pin_topic", "pin", "topic")
    np.testing.assert_array_equal(saved, [-1 if pin == NO_TOPIC else topic for pin, topic in enumerate(OF_PIN)])
    back = attribute_rows(graph, _graph(graph), "pin_topic", "topic", "pin")
    first = {topic: pin for pin, topic in reversed(list(enumerate(OF_PIN))) if pin != NO_TOPIC}
    np.testing.assert_array_equal(back, [first.get(topic, -1) for topic in range(TOPICS)])


def _graph(directory: Path) -> Graph:
    from artifacts.formats.graph import load_graph

    return load_graph(directory)


@pytest.mark.parametrize(
    ("via", "message"),
    [
        (
            "pin_topik",
            r"^ranker.slots.topic.via: 'pin_topik' is not a relation of the graph, did you mean 'pin_topic'",
        ),
        ("click", r"^ranker.slots.topic.via: 'click' leads from 'user' to 'pin', expected from 'pin' to 'topic'$"),
    ],
)
def test_a_relation_that_does_not_lead_there_is_a_config_error(world: SmallWorld, via: str, message: str) -> None:
    slots = {**SLOTS, "topic": {**DERIVED["topic"], "via": via}}
    with pytest.raises(ConfigError, match=message):
        Attributes.of(settings(slots), exports(world), Forgotten())


def test_without_a_graph_it_is_a_config_error(world: SmallWorld) -> None:
    message = r"ranker.slots.recent_topics.via: needs a run with a graph and vectors"
    calls: list[Callable[[], Any]] = [
        lambda: Attributes.of(settings(DERIVED), {}, Forgotten()),
        lambda: Attributes.of(settings(DERIVED), {"base": Export(world.export, None)}, Forgotten()),
        lambda: list(ImpressionLog(settings(DERIVED), world.root).blocks()),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=message):
            call()


def test_a_scorer_is_checked_with_attributes_and_counts(world: SmallWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no columns of the log, and the first to be wrong without a word."""
    chosen, model = settings(DERIVED, fit={"arm": "none"}, arms={"none": {}}), world.root / "model"
    fit(chosen, world.root, exports(world)["base"], model)
    columns = Scorer(model).columns
    assert (columns["topic"], columns["recent_topics"]) == ("text", "a list of text")
    assert not {*chosen.count_features} & {*columns}, "the scorer has what was counted"
    encode = Encoder.encode

    def other(self: Encoder, block: LogBlock) -> Encoded:
        found = encode(self, block)
        return replace(found, numerics=found.numerics + 1)

    monkeypatch.setattr(Encoder, "encode", other)
    with pytest.raises(RuntimeError, match="a scorer's click differs by"):
        fit(chosen, world.root, exports(world)["base"], model)


@pytest.mark.parametrize("arm", ["none", "attention"])
def test_a_scorer_runs_lists_of_attributes_with_ages(world: SmallWorld, arm: str) -> None:
    """What models make of these lists alone is in the network that is published, too."""
    shown = world.columns["ts"]
    ages = [
        None if pins is None else [int(at) - 60 * place for place, _ in enumerate(pins, 1)]
        for at, pins in zip(shown, world.columns["recent"], strict=True)
    ]
    world.write(recent_ts=ages)
    timed = {"times": "recent_ts"}
    slots = {**DERIVED, "recent": {**SLOTS["recent"], **timed}, "recent_topics": {**DERIVED["recent_topics"], **timed}}
    arms = {"none": {}, "attention": {"ids": True, "vectors": "attention"}}
    chosen = settings(slots, fit={"arm": arm}, arms=arms)
    fit(chosen, world.root, exports(world)["base"], world.root / "model")
    assert "recent_ts" in Scorer(world.root / "model").columns


@pytest.mark.parametrize("lacking", [("topic", "recent_topics"), ("recent_topics",)], ids=["both", "one"])
def test_files_to_score_need_no_columns_of_what_the_graph_says(world: SmallWorld, lacking: tuple[str, ...]) -> None:
    """One that has them scores the same; what it says of them counts, and the graph says the rest."""
    arms, export = {"attention": {"ids": True, "vectors": "attention"}}, exports(world)["base"]
    chosen = config(slots=DERIVED, fit={"arm": "attention"}, arms=arms)
    fit(chosen, world.root, export, world.root / "model")
    with_columns(world)
    (path,), out = impression_files(chosen, world.root), world.root / "scored.parquet"
    whole = pq.read_table(path)

    def scored(table: pa.Table) -> pa.Table:
        pq.write_table(table, world.root / "rows.parquet")
        rows = str(world.root / "rows.parquet")
        score_parquet(chosen, world.root / "model", rows, out, export, None, lambda done: None)
        return pq.read_table(out)

    expected, found = scored(whole), scored(whole.drop_columns(list(lacking)))
    assert "topic" in expected.column_names and ("topic" in found.column_names) is ("topic" not in lacking)
    assert found["p_click"].equals(expected["p_click"])
    other = whole.set_column(whole.column_names.index("topic"), "topic", pa.array(["t1"] * len(whole)))
    assert not scored(other.drop_columns("recent_topics"))["p_click"].equals(expected["p_click"])
    with pytest.raises(DataError, match="no column 'recent', in training a list of text"):
        scored(whole.drop_columns([*lacking, "recent"]))


WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "no via": ({"via": None}, ("slots", "topic", "via"), "expected together with `of`"),
    "no of": ({"of": None}, ("slots", "topic", "via"), "expected together with `of`"),
    "unknown": (
        {"of": "pin"},
        ("slots", "topic", "of"),
        "'pin' is not a slot of the log with a type, did you mean",
    ),
    "no type": ({"of": "campaign"}, ("slots", "topic", "of"), "'campaign' is not a slot of the log with a type"),
    "itself": ({"of": "topic"}, ("slots", "topic", "of"), "'topic' is not a slot of the log with a type"),
    "own type": ({"type": None}, ("slots", "topic", "type"), "expected the type that `via` leads to"),
    "cap": ({"of": "recent"}, ("slots", "topic", "cap"), "expected that of 'recent' (5)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_slot_that_cannot_be_is_a_config_error(case: str) -> None:
    change, path, message = WRONG[case]
    slots = {**SLOTS, "topic": {**DERIVED["topic"], **change}}
    found = {
        problem.path: problem.message
        for problem in RankerConfig(**{**config().model_dump(), "slots": slots}).problems()
    }
    assert message in found[path]
