"""A benchmark's folder by one line of config: the graph of the config that names every source by hand."""

import gzip
import json
from pathlib import Path

import pytest

from artifacts.errors import DataError
from partitioning import GraphConfig, build_graph, source_files
from pipeline.cli import main
from tests.worlds.ledger_world import assert_same_bytes

BY_HAND = {
    "sources": {
        name: {"path": f"kge/{name}.tsv", "columns": ["head", "relation", "tail"], "split": name}
        for name in ("train", "valid", "test")
    },
    "entities": {"entity": {}},
    "relations": [
        {
            "relation_column": "relation",
            "source": ["train", "valid", "test"],
            "lhs": {"type": "entity", "column": "head"},
            "rhs": {"type": "entity", "column": "tail"},
        }
    ],
}


def write(root: Path, ending: str) -> None:
    (root / "kge").mkdir(exist_ok=True)
    for name, lines in (("train", "a\tr\tb\nb\tq\tc\n"), ("valid", "a\tr\tc\n"), ("test", "c\tq\ta\n")):
        text = lines.encode()
        (root / f"kge/{name}.{ending}").write_bytes(gzip.compress(text) if ending.endswith("gz") else text)


def build(root: Path, raw: dict, name: str) -> Path:
    (root / name).mkdir()
    config = GraphConfig.model_validate({"memory_limit": "1GB", **raw})
    build_graph(config, root, root / name, lambda step, fraction: None)
    return root / name


@pytest.mark.parametrize("ending", ["tsv", "txt", "tsv.gz"])
def test_one_line_is_what_many_say(tmp_path: Path, ending: str) -> None:
    write(tmp_path, ending)
    found = build(tmp_path, {"benchmark": "kge"}, "one-line")
    (tmp_path / f"kge/train.{ending}").rename(tmp_path / "kept")
    (tmp_path / "kept").rename(tmp_path / f"kge/train.{ending}")
    by_hand = {name: {**source, "format": "tsv"} for name, source in BY_HAND["sources"].items()}
    by_hand = {name: {**source, "path": f"kge/{name}.{ending}"} for name, source in by_hand.items()}
    assert_same_bytes(found, build(tmp_path, {**BY_HAND, "sources": by_hand}, "by-hand"))


def test_what_is_given_wins() -> None:
    config = GraphConfig.model_validate(
        {"benchmark": "kge/", "entities": {"entity": {"partitions": 2}}, "partitions": 2}
    )
    assert config.entities["entity"].partitions == 2
    assert config.sources["valid"].path.startswith("kge/valid.")


def test_a_split_is_one_file(tmp_path: Path) -> None:
    write(tmp_path, "tsv")
    write(tmp_path, "txt")
    with pytest.raises(DataError, match="graph.benchmark: the train split may be any of") as caught:
        source_files(GraphConfig.model_validate({"benchmark": "kge"}), tmp_path)
    assert len(caught.value.lines) == 3


def test_a_folder_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"graph": {"benchmark": "nowhere"}, "model": {"operator": "transr"}}))
    assert main(["partition", str(tmp_path / "c.json"), "--root", str(tmp_path)]) == 65
    assert "no file matches 'nowhere/train." in capsys.readouterr().err
