"""A typo in a config is named, with its path, and all of them at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import json5
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from artifacts.errors import ConfigError
from artifacts.files.json_file import parse_json
from artifacts.section import Section
from pipeline.cli import main
from pipeline.config.loading import load_config, parsed
from pipeline.config.run_config import RunConfig
from pipeline.config.schema import config_schema

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
RUN_CONFIGS = sorted(path for path in CONFIGS.glob("*.json") if path.name != "schema.json")


def good() -> dict[str, Any]:
    side = {"lhs": {"type": "user", "column": "u"}, "rhs": {"type": "pin", "column": "p"}}
    return {
        "graph": {
            "sources": {"log": {"path": "log.parquet"}},
            "entities": {"user": {}, "pin": {}},
            "relations": [{"name": "click", "source": "log", **side}],
        },
        "model": {"anchors": ["click"]},
    }


def errors(tmp_path: Path, config: dict[str, Any] | str, *overrides: str) -> list[str]:
    path = tmp_path / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return list(caught.value.lines)


@pytest.mark.parametrize("path", RUN_CONFIGS, ids=lambda path: path.stem)
def test_the_configs_that_come_along_are_good(path: Path) -> None:
    load_config(path)


def test_the_schema_is_current() -> None:
    assert json.loads((CONFIGS / "schema.json").read_text()) == config_schema(), "run `make schema`"


def edit(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        *parents, last = key.split(".")
        for parent in parents:
            config = config[int(parent)] if isinstance(config, list) else config[parent]
        config[last] = value

    return change


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("grahp", {}, "grahp: unknown key, did you mean 'graph'?"),
        ("graph.sources.log.pth", "x", "graph.sources.log.pth: unknown key, did you mean 'path'?"),
        ("graph.relations.0.lhs.type", "usr", "graph.relations[0].lhs.type: unknown entity type 'usr', did you mean"),
        ("graph.relations.0.source", "lug", "graph.relations[0].source: "),
        ("graph.relations.0.domain", "offsit", "graph.relations[0].domain: unknown value 'offsit', did you mean"),
        ("graph.relations.0.domain", "offsite", "graph.relations[0].consent: "),
        ("graph.entities.pin", {"partitions": 3}, "graph.entities.pin.partitions: "),
        ("graph.memory_limit", "much", "graph.memory_limit: "),
        ("model.similarity", "cosine", "model.similarity: unknown value 'cosine', did you mean 'cos'?"),
        ("model.anchors", ["clik"], "model.anchors[0]: 'clik' is not a relation of the graph, did you mean 'click'?"),
        ("model.anchors", [], "model.anchors: operator 'transra' needs"),
        ("model.dimension", 0, "model.dimension: 0: input should be greater than 0"),
        ("model.dimension", "big", 'model.dimension: "big": input should be a valid integer'),
        ("model.dimension", True, "model.dimension: true: expected a number, not true or false"),
        ("model.relation_weights", {"click": True}, 'model.relation_weights: {"click": true}: expected a number, not'),
        ("gate", {"mrr": True}, "gate.mrr: true: expected a number"),
        ("keep", {"runs": True}, "keep.runs: true: expected a number"),
        ("evaluate", {"max_edges": False}, "evaluate.max_edges: false: expected a number"),
        ("graph.sources.log.path", "", "graph.sources.log.path: a path is empty"),
        ("graph.sources.log.path", ["log", ""], "graph.sources.log.path: a path is empty"),
        ("model.relation_weights", {"clik": 2}, "model.relation_weights.clik: not a relation of the graph, did you"),
        ("model.batch_negatives", 70, "model.batch_size: 1000: expected a multiple of batch_negatives (70)"),
        ("export", {"formats": ["tsv"]}, "export.formats: 'hdf5' is missing"),
        ("export", {"formats": ["hdf"]}, "export.formats[0]: unknown value 'hdf', did you mean 'hdf5'?"),
    ],
)
def test_one_mistake_one_line(tmp_path: Path, key: str, value: Any, line: str) -> None:
    config = good()
    edit(key, value)(config)
    found = errors(tmp_path, config)
    assert len(found) == 1
    assert found[0].startswith(line)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    config = good()
    for key, value in (
        ("graph.memory_limitt", "1GB"),
        ("graph.relations.0.lhs.type", "usr"),
        ("model.dimension", -1),
        ("model.anchors", ["clik"]),
    ):
        edit(key, value)(config)
    assert [line.split(":")[0] for line in errors(tmp_path, config)] == [
        "graph.memory_limitt",
        "model.dimension",
        "graph.relations[0].lhs.type",
        "model.anchors[0]",
    ]


def test_a_missing_section(tmp_path: Path) -> None:
    config = good()
    del config["graph"]["sources"]
    assert errors(tmp_path, config) == ["graph.sources: missing, expected a value"]


def test_what_is_no_json5(tmp_path: Path) -> None:
    (line,) = errors(tmp_path, "{graph: {a: 1,,}}")
    assert "not JSON5: line 1" in line
    assert "column 16" in line
    assert "duplicate" in errors(tmp_path, '{"model": {"lr": 1, "lr": 2}}')[0].lower()
    assert errors(tmp_path, "[]")[0].endswith("expected an object at the top")


def value_of(parse: Callable[[str], Any], text: str) -> str:
    """The value with its types and its order; or that it is none."""
    try:
        return repr(parse(text))
    except ValueError:
        return "refused"


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from([*"{}[]:,'/*\\\n \u2028a1-.", '"', '"a"', '"b":', "'a'", "//", "/*", "*/", "1e2", "null"]))
    .map("".join)
    .filter(lambda text: text.count("[") + text.count("{") < 50)
)
@example('{"a": 1, /* " */ "b": [1.0, -0, 1E400, "\\/\\n"] // "c"\n}')
@example('{"a": 1, "a": 1}')
@example("{a: '//', b: \"/*\", \"c\": '*/'}")
@example("[1,]")
@example("[,]")
@example("[1 //\u2028, 2]")
@example('"a\\\nb"')
@example("1/**/2")
def test_what_is_read_as_json_is_json5(text: str) -> None:
    assert value_of(parsed, text) == value_of(lambda one: json5.loads(one, allow_duplicate_keys=False), text)


def test_a_config_of_json_may_have_any_character(tmp_path: Path) -> None:
    """json.dumps writes one beyond 16 bits as two halves."""
    config = good()
    config["graph"]["sources"]["log"]["path"] = "\U0001f600.parquet"
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert load_config(tmp_path / "c.json").graph.sources["log"].path == "\U0001f600.parquet"


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.json: cannot be read \(No such file or directory\)"):
        load_config(tmp_path / "nowhere.json")


def test_extends_merges_objects_and_replaces_the_rest(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(json.dumps(good()))
    child = tmp_path / "child.json"
    child.write_text('{extends: "base.json", model: {operator: "transe", anchors: [], /* trailing */ }, }')
    config = load_config(child)
    assert (config.model.operator, config.model.anchors) == ("transe", ())
    assert config.graph == load_config(tmp_path / "base.json").graph
    child.write_text('{extends: "child.json"}')
    with pytest.raises(ConfigError, match="extends itself"):
        load_config(child)


def variant(tmp_path: Path, over: str, base: dict[str, Any] | None = None) -> RunConfig:
    """A config that extends a base through one in between."""
    (tmp_path / "base.json").write_text(json.dumps(base or good()))
    (tmp_path / "between.json").write_text('{extends: "base.json"}')
    (tmp_path / "child.json").write_text('{extends: "between.json", ' + over + "}")
    return load_config(tmp_path / "child.json")


def two_relations() -> dict[str, Any]:
    config = good()
    (click,) = config["graph"]["relations"]
    config["graph"]["relations"] = [
        {**click, "where": "a = 'click'"},
        {**click, "name": "hide"},
        {**{key: value for key, value in click.items() if key != "name"}, "relation_column": "kind"},
    ]
    config["graph"]["sources"]["more"] = {"path": "more.parquet", "time_column": "ts"}
    config["graph"]["entities"]["item"] = {}
    config["model"]["relation_weights"] = {"click": 2, "hide": 3}
    return config


@pytest.mark.parametrize(
    ("over", "key", "expected"),
    [
        ("graph: {sources: {more: null}}", "graph.sources", {"log"}),
        ("graph: {entities: {item: null}}", "graph.entities", {"user", "pin"}),
        ("model: {relation_weights: {hide: null}}", "model.relation_weights", {"click": 2}),
        ("model: {dimension: null}", "model.dimension", 64),
        ("graph: {sources: {more: {time_column: null}}}", "graph.sources.more.time_column", None),
        ("evaluate: {max_edges: null}", "evaluate.max_edges", None),
        ("graph: {split: {time: null, random: {test: 0.1}}}", "graph.split.time", None),
    ],
)
def test_null_drops_a_key_or_is_its_value(tmp_path: Path, over: str, key: str, expected: Any) -> None:
    base = two_relations()
    base["evaluate"], base["model"]["dimension"] = {"max_edges": 7}, 32
    found: Any = variant(tmp_path, over, base)
    for part in key.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert (set(found) if isinstance(expected, set) else found) == expected


def test_relations_are_changed_by_name(tmp_path: Path) -> None:
    """Those that stay keep their order, since it gives them their indices; new ones follow."""
    base = two_relations()
    side = '{type: "pin", column: "p"}'
    over = (
        'graph: {relations: {hide: null, click: {where: "b", rhs: {column: "q"}}, '
        f'save: {{source: "more", lhs: {side}, rhs: {side}}}, "by kind": {{allow_empty: true}}}}}}, '
        "model: {relation_weights: null}"
    )
    relations = variant(tmp_path, over, base).graph.relations
    assert [relation.label for relation in relations] == ["click", "by kind", "save"]
    assert (relations[0].where, relations[0].rhs.column, relations[0].lhs.column) == ("b", "q", "u")
    assert relations[1].allow_empty


@pytest.mark.parametrize(
    ("over", "line"),
    [
        ("graph: {sources: {mroe: null}}", "graph.sources.mroe: null drops a key, and what this config extends has no"),
        ("graph: {relations: {clik: null}}", "graph.relations.clik: null drops a key, and what this config extends"),
        ("grahp: null", "grahp: null drops a key"),
        ("graph: {relations: {click: 3}}", "graph.relations.click: expected an object, or null"),
        ("graph: {relations: {new: {where: null}}}", "graph.relations[3].source: missing"),
        ("graph: {relations: {click: {were: 'x'}}}", "graph.relations[0].were: unknown key"),
    ],
)
def test_a_typo_in_a_variant_is_named(tmp_path: Path, over: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        variant(tmp_path, over, two_relations())
    assert caught.value.lines[0].startswith(line)


def test_relations_by_name_need_a_base(tmp_path: Path) -> None:
    config = good()
    config["graph"]["relations"] = {"click": config["graph"]["relations"][0]}
    (line,) = errors(tmp_path, config)
    assert line.startswith("graph.relations: ") and "expected a list, [{ name: " in line
    (line,) = errors(tmp_path, good(), "graph.relations={click: {where: 'true'}}")
    assert line.endswith("--set changes one by its place: graph.relations[0].where=...")
    twice = two_relations()
    twice["graph"]["relations"].append(twice["graph"]["relations"][2])
    with pytest.raises(ConfigError, match="names of the base occur twice"):
        variant(tmp_path, "graph: {relations: {click: null}}", twice)


@pytest.mark.parametrize("path", sorted((CONFIGS / "experiments").glob("*.json")), ids=lambda path: path.name)
def test_an_experiment_is_named_as_one(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    (line,) = caught.value.lines
    assert f"{path}: is an experiment" in line and "`make experiments` reads" in line


def test_overrides(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(json.dumps(good()))
    sets = ["model.epochs=3", "model.similarity=l2", "graph.relations[0].where=a = 'b'", "model.anchors=['click']"]
    config = load_config(tmp_path / "base.json", sets)
    assert (config.model.epochs, config.model.similarity, config.graph.relations[0].where) == (3, "l2", "a = 'b'")
    assert errors(tmp_path, good(), "model.epochs") == ["--set model.epochs: expected key.path=value"]
    assert errors(tmp_path, good(), "graph.relations[7].where=x")[0].startswith("--set graph.relations[7].where=x: ")


def test_an_inverse_is_a_relation_that_can_be_named(tmp_path: Path) -> None:
    config = good()
    config["graph"]["relations"][0]["inverse"] = "clicked_by"
    config["model"]["anchors"] = ["clicked_by"]
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert load_config(tmp_path / "c.json").model.anchors == ("clicked_by",)


@pytest.mark.parametrize("anchors", [["click", "clicked_by"], ["click"]])
def test_a_bias_needs_anchors_that_leave_each_type_on_one_side(tmp_path: Path, anchors: list[str]) -> None:
    """Said before a graph is made; relations that the data name are looked at when training begins."""
    config = good()
    config["graph"]["relations"][0]["inverse"] = "clicked_by"
    config["model"] |= {"anchors": anchors, "similarity": "dot", "tail_bias": True}
    if len(anchors) == 1:
        assert RunConfig.model_validate(config).trained.tail_bias and not list(RunConfig(**config).problems())
        return
    sides = "is head and tail of anchors; expected one side"
    types = sorted({config["graph"]["relations"][0][side]["type"] for side in ("lhs", "rhs")})
    assert errors(tmp_path, config) == [f"model.tail_bias: entity type '{name}' {sides}" for name in types]


def names_from_data(root: Path, anchor: str, suffix: str) -> Path:
    """A config whose relations are named by the data: `like` and `hate`, and `old` in rows that are left out."""
    config = good()
    (relation,) = config["graph"]["relations"]
    del relation["name"]
    relation |= {"relation_column": "kind", "where": "kind <> 'old'"}
    config["graph"]["sources"]["log"]["path"] = f"log.{suffix}"
    config["model"] = {"anchors": [anchor], "relation_weights": {"hate": 2}}
    (root / "c.json").write_text(json.dumps(config))
    return root / "c.json"


def check(root: Path, path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and what is printed."""
    code = main(["config", "check", str(path), "--root", str(root)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_names_that_come_from_the_data_are_looked_up_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    """A wrong anchor is never called good: where the data is not there, it is said that it was not checked."""
    code, text = check(tmp_path, names_from_data(tmp_path, "lkie", suffix), capsys)
    assert code == 0
    assert "c.json: good, but not checked: model.anchors" in text and f"no file matches 'log.{suffix}'" in text
    log = pd.DataFrame({"u": [1, 2, 3], "p": [4, 5, 6], "kind": ["like", "hate", "old"]})
    log.to_csv(tmp_path / "log.csv", index=False) if suffix == "csv" else log.to_parquet(tmp_path / "log.parquet")
    code, text = check(tmp_path, tmp_path / "c.json", capsys)
    assert (code, text) == (
        2,
        "transra: model.anchors[0]: 'lkie' is not a relation of the graph, did you mean 'like'?\n",
    )
    assert check(tmp_path, names_from_data(tmp_path, "old", suffix), capsys)[0] == 2, "no edge has that name"
    code, text = check(tmp_path, names_from_data(tmp_path, "like", suffix), capsys)
    assert (code, text) == (0, f"{tmp_path / 'c.json'}: good\n")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("command", [["config", "check"], ["partition", "--dry-run"]])
def test_columns_that_logs_lack_are_said_before_a_row_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, command: list[str]
) -> None:
    log = pd.DataFrame({"user": [1, 2, 3], "p": [4, 5, 6], "kind": ["like", "hate", "old"]})
    writers = {"csv": log.to_csv, "parquet": log.to_parquet}
    log.to_json(tmp_path / "log.jsonl", orient="records", lines=True)
    if suffix in writers:
        writers[suffix](tmp_path / f"log.{suffix}")
    config = good()
    config["graph"]["sources"]["log"]["path"] = f"log.{suffix}"
    config["graph"]["relations"][0] |= {"where": "knd = 'like'"}
    (tmp_path / "c.json").write_text(json.dumps(config))
    code = main([*command, str(tmp_path / "c.json"), "--root", str(tmp_path)])
    captured = capsys.readouterr()
    if suffix == "jsonl":  # whose columns only a build reads
        assert code == 0
        assert ("not checked: the columns of log" in captured.out) == (command[0] == "config")
    else:
        assert code == 2
        assert "source 'log' has no column 'knd', did you mean 'kind'?" in captured.err
        assert "source 'log' has no column 'u'" in captured.err


def test_of_several_conditions_the_wrong_one_alone_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame({"u": [1, 2], "p": [4, 5], "kind": ["like", "hate"]}).to_csv(tmp_path / "log.csv", index=False)
    config = good()
    config["graph"]["sources"]["log"]["path"] = "log.csv"
    (relation,) = config["graph"]["relations"]
    others = {"where": "knd = 'hate'", "name": "other"}
    config["graph"]["relations"] = [relation | {"where": "kind = 'like'"}, relation | others]
    (tmp_path / "c.json").write_text(json.dumps(config))
    code, said = check(tmp_path, tmp_path / "c.json", capsys)
    line = "transra: graph.relations[1].where: source 'log' has no column 'knd', did you mean 'kind'?\n"
    assert (code, said) == (2, line)


class Inner(Section):
    count: int


class Outer(Section):
    """As a scorer's manifest: tuples and sections beside numbers."""

    names: tuple[tuple[str, ...], ...]
    inner: dict[str, Inner]
    share: float | None


def test_sections_that_were_written_are_read_again() -> None:
    """Strictly, as JSON: a list there is a tuple, and an object a section."""
    made = Outer(names=(("a", "b"),), inner={"c": Inner(count=2)}, share=0.5)
    assert parse_json(made.model_dump_json(), Outer) == made
    with pytest.raises(ValueError, match=r"^inner\.c\.count: "):
        parse_json('{"names": [], "inner": {"c": {"count": true}}, "share": null}', Outer)
