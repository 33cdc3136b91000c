"""PyTorch-BigGraph's own readers and programs on our files, and our training from a checkpoint that it wrote."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from torchbiggraph.checkpoint_manager import CheckpointManager
from torchbiggraph.config import ConfigSchema
from torchbiggraph.graph_storages import FileEdgeStorage, FileEntityStorage, FileRelationTypeStorage

from artifacts.embeddings import Embeddings
from artifacts.formats.graph import edge_path, load_graph
from pbg_transra.config import EvaluateConfig, ModelConfig
from pbg_transra.evaluation.report import evaluate
from pbg_transra.start.from_pbg import adopt_checkpoint
from pipeline.cli import main
from tests.worlds.stock_checkpoints import Config, D, stock_config
from tests.worlds.wide_graphs import widen

EVENTS = 3000
# torchbiggraph_train seeds its workers by their process numbers, and the order of buckets not at all.
SEEDED = """
import random, torch, functools, torchbiggraph.train as pbg
class Same(random.Random):
    def __init__(self):
        super().__init__(0)
random.Random, pool = Same, pbg.create_pool
pbg.create_pool = lambda workers, *more, **named: pool(workers, None, functools.partial(torch.manual_seed, 0))
torch.manual_seed(0)
pbg.main()
"""


def run_config() -> Config:
    """Users click and save the pins of their own group; every entity has a name for PBG."""
    sides = {"lhs": {"type": "user", "column": "user"}, "rhs": {"type": "pin", "column": "pin"}}
    relations = [{"name": n, "source": "events", "where": f"action = '{n}'", **sides} for n in ("click", "save")]
    model = {"anchors": ["click"], "dimension": D, "similarity": "squared_l2", "scale": 1, "epochs": 3, "workers": 1}
    return {
        "graph": {
            "partitions": 2,
            "memory_limit": "1GB",
            "write_names": True,
            "sources": {"events": {"path": "events.csv"}},
            "entities": {"user": {}, "pin": {"partitions": 1}},
            "relations": relations,
            "split": {"random": {"test": 0.1}},
        },
        "model": {**model, "batch_size": 100, "batch_negatives": 10, "uniform_negatives": 10},
        "export": {"formats": ["hdf5", "tsv"]},
    }


def events() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    user, action = rng.integers(0, 60, EVENTS), rng.choice(["click", "save"], EVENTS)
    pin = rng.integers(0, 10, EVENTS) * 4 + user % 4
    return pd.DataFrame({"user": [f"u{u}" for u in user], "pin": [f"p{p}" for p in pin], "action": action})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    events().to_csv(root / "events.csv", index=False)
    (root / "run.json").write_text(json.dumps(run_config()))
    return root


def transra(root: Path, *arguments: str) -> int:
    """A stage or command, then its options; the config is run.json."""
    words, options = arguments[:1], arguments[1:]
    if words == ("config",):
        words, options = arguments[:2], arguments[2:]
    return main([*words, str(root / "run.json"), "--root", str(root), *options])


@pytest.fixture(scope="module")
def ours(root: Path) -> Path:
    """The published run of a TransRA model."""
    assert [transra(root, stage) for stage in ("partition", "train", "export")] == [0, 0, 0]
    return (root / "runs" / "run" / "latest").resolve()


def pbg(program: str, config: Path, *options: str) -> str:
    """Runs one of PBG's programs from a directory that has nothing of ours, and returns what it logged."""
    command = [sys.executable, "-W", "ignore", "-m", f"torchbiggraph.{program}", str(config), *options]
    done = subprocess.run(command, cwd=config.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


# ---- its readers -----------------------------------------------------------------------------------------------------


def test_its_graph_readers_find_every_event(ours: Path) -> None:
    directory = ours / "graph"
    relations = FileRelationTypeStorage(str(directory))
    assert (relations.load_count(), relations.load_names()) == (2, ["click", "save"])
    entities = FileEntityStorage(str(directory))
    users = [entities.load_names("user", partition) for partition in range(2)]
    pins = entities.load_names("pin", 0)
    assert [entities.load_count("user", partition) for partition in range(2)] == [len(names) for names in users]
    found: Counter[tuple[str, ...]] = Counter()
    for split in ("train", "test"):
        storage = FileEdgeStorage(str(edge_path(directory, split)))
        for partition in range(2):
            edges = storage.load_edges(partition, 0)
            for lhs, rhs, rel in zip(edges.lhs.tensor, edges.rhs.tensor, edges.rel, strict=True):
                found[users[partition][lhs], pins[rhs], ("click", "save")[rel]] += 1
    assert found == Counter(events().itertuples(index=False, name=None))


def test_its_checkpoint_reader_finds_tables_operators_and_sums(ours: Path) -> None:
    manager = CheckpointManager(str(ours / "model"))
    state, optimizer = manager.read_model()
    assert sorted(state) == [f"rhs_operators.{k}" for k in ("0.translation", "1.projection", "1.translation")]
    assert all((entry["sum"] > 0).any() for entry in optimizer["state"].values())
    vectors = Embeddings(ours / "export" / "embeddings.h5")
    parts = [manager.read("user", partition) for partition in range(2)]
    np.testing.assert_array_equal(np.concatenate([embs for embs, _ in parts]), vectors.vectors("user"))
    assert all(len(sums["state"][0]["sum"]) == len(embs) for embs, sums in [*parts, manager.read("pin", 0)])
    assert manager.read_config().relations[0].operator == "transra_anchor"


# ---- its programs ----------------------------------------------------------------------------------------------------


def test_its_tsv_export_writes_what_ours_writes(root: Path, ours: Path, tmp_path: Path) -> None:
    assert transra(root, "config", "pbg", "-o", str(tmp_path / "pbg.py")) == 0
    outputs = [tmp_path / "entities.tsv", tmp_path / "relations.tsv"]
    options = ["--entities-output", str(outputs[0]), "--relation-types-output", str(outputs[1])]
    pbg("converters.export_to_tsv", tmp_path / "pbg.py", *options)
    for path in outputs:
        own = (ours / "export" / path.name).read_text()
        assert sorted(path.read_text().splitlines()) == sorted(own.splitlines())
    vectors = Embeddings(ours / "export" / "embeddings.h5")
    lines = [line.split("\t") for line in outputs[0].read_text().splitlines()]
    names, values = [line[0] for line in lines], np.array([line[1:] for line in lines], float)
    for kind in ("user", "pin"):
        rows = vectors.rows(kind, [name for name in names if name[0] == kind[0]])
        chosen = values[[name[0] == kind[0] for name in names]]
        np.testing.assert_allclose(vectors.vectors(kind)[rows], chosen, atol=1e-8)


def test_its_evaluation_reads_our_operators(root: Path, ours: Path, tmp_path: Path) -> None:
    assert transra(root, "config", "pbg", "-o", str(tmp_path / "pbg.py")) == 0
    assert "scores are not the model's" in (tmp_path / "pbg.py").read_text()
    assert 0 < mrr_of(pbg("eval", tmp_path / "pbg.py", "-p", "workers=1")) <= 1


def test_its_evaluation_of_a_stock_operator_is_what_the_vectors_say(root: Path, ours: Path, tmp_path: Path) -> None:
    """All of the partition as negatives, so that no chance is in it; `ours` is there for its graph."""
    workspace, more = tmp_path / "runs", ["--set", "model.operator=translation", "--set", "model.anchors=[]"]
    shutil.copytree(root / "runs" / "run", workspace, symlinks=True)
    for stage in ("train", "export"):
        assert transra(root, stage, "--workspace", str(workspace), *more) == 0
    run = (workspace / "latest").resolve()
    assert transra(root, "config", "pbg", "--workspace", str(workspace), "-o", str(tmp_path / "pbg.py")) == 0
    text = (tmp_path / "pbg.py").read_text()
    assert str(run) in text
    assert "scores are not the model's" not in text
    (tmp_path / "pbg.py").write_text(text.replace("'all_negs': False", "'all_negs': True"))
    found = mrr_of(pbg("eval", tmp_path / "pbg.py", "-p", "workers=1"))
    assert found == pytest.approx(mrr_by_hand(run), rel=1e-3)
    assert found > 0.15, "chance is about 0.1 over some 35 entities"


def mrr_of(log: str) -> float:
    """The last mean reciprocal rank that PBG logged: that of all buckets."""
    return float(re.findall(r"mrr:\s+([0-9.e-]+)", log)[-1])


def mrr_by_hand(run: Path) -> float:
    """PBG's rank of each test edge among the entities of its bucket, for operator `translation` and squared_l2."""
    vectors, graph = Embeddings(run / "export" / "embeddings.h5"), load_graph(run / "graph")
    counts, found = graph.entity_type("user").counts, []
    for partition in range(2):
        users = vectors.vectors("user")[sum(counts[:partition]) : sum(counts[: partition + 1])]
        with h5py.File(edge_path(run / "graph", "test") / f"edges_{partition}_0.h5") as file:
            for lhs, rhs, rel in zip(file["lhs"], file["rhs"], file["rel"], strict=True):
                pins = vectors.vectors("pin") + vectors.relations[rel].parameters["translation"]
                for own, others in (
                    (lhs, np.square(users - pins[rhs]).sum(1)),
                    (rhs, np.square(pins - users[lhs]).sum(1)),
                ):
                    found.append(1 / (others <= others[own]).sum())
    return float(np.mean(found))


def test_a_graph_without_names_is_told(root: Path, ours: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ours / "graph" / "entity_names_user_1.json"
    text = names.read_text()
    names.unlink()
    try:
        assert transra(root, "config", "pbg") == 0
    finally:
        names.write_text(text)
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "entity_names_user_1.json: not there" in said.err
    assert "graph.write_names: true" in said.err
    exec(said.out, module := {})
    assert ConfigSchema.from_dict(module["get_torchbiggraph_config"]()).checkpoint_path == str(ours / "model")


def test_without_a_model_there_is_no_config(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transra(root, "config", "pbg", "--workspace", str(tmp_path)) == 2
    assert "no run holds a model yet" in capsys.readouterr().err


# ---- from its checkpoint: the whole path -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stock(root: Path, ours: Path) -> Path:
    """A checkpoint that torchbiggraph_train made on our graph."""
    graph = load_graph(ours / "graph")
    more = {"loss_fn": "softmax", "lr": 0.02, "relation_lr": 0.01, "init_scale": 0.1, "eval_fraction": 0.0}
    more |= {"workers": 1, "hogwild_delay": 0.0, "batch_size": 100, "num_batch_negs": 10, "num_uniform_negs": 10}
    config = stock_config(graph, ours / "graph", root / "stock", ("translation", "affine"), **more)
    (root / "stock.py").write_text(f"def get_torchbiggraph_config():\n    return {config!r}\n")
    pbg("train", root / "stock.py")
    return root / "stock"


def test_it_trains_on_our_narrow_edges_as_on_its_own_wide_ones(root: Path, ours: Path, stock: Path) -> None:
    """One worker and a seed: all numbers of both checkpoints are the same."""
    shutil.copytree(ours / "graph", root / "wide")
    widen(root / "wide")
    for name, graph_dir in (("on_narrow", ours / "graph"), ("on_wide", root / "wide")):
        text = (root / "stock.py").read_text().replace(str(ours / "graph"), str(graph_dir))
        (root / f"{name}.py").write_text(text.replace(str(root / "stock"), str(root / name)))
        subprocess.run([sys.executable, "-W", "ignore", "-c", SEEDED, str(root / f"{name}.py")], cwd=root, check=True)
    for kind in load_graph(ours / "graph").entity_types:
        for partition in range(kind.partitions):
            one, other = (CheckpointManager(str(root / n)).read(kind.name, partition) for n in ("on_narrow", "on_wide"))
            np.testing.assert_array_equal(one[0], other[0])
            assert not np.array_equal(one[0], CheckpointManager(str(stock)).read(kind.name, partition)[0]), "unseeded"


def test_training_goes_on_from_its_checkpoint(
    root: Path, ours: Path, stock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "runs"
    shutil.copytree(root / "runs" / "run", workspace, symlinks=True)
    more = ["--set", "model.start_from=stock", "--set", "model.operator=transra_untied"]
    assert transra(root, "train", "--workspace", str(workspace), *more) == 0
    assert "starts from" in (told := capsys.readouterr().out)
    assert "ids compared; scores kept: click, save" in told
    run = max(path for path in workspace.iterdir() if path.name[0] == "2")
    assert not list((run / "model").glob("*.v0.h5"))
    assert '"message": "started from a checkpoint"' in (run / "log.jsonl").read_text()
    model = ModelConfig(**{**run_config()["model"], "operator": "transra_untied"})
    assert mrr(run, committed(stock, run, model, tmp_path), model) < mrr(run, run / "model", model) - 0.05
    assert transra(root, "train", "--workspace", str(workspace), *more) == 0
    assert "up to date" in capsys.readouterr().out


def committed(stock: Path, run: Path, model: ModelConfig, tmp_path: Path) -> Path:
    """What training started from, as a checkpoint that counts."""
    directory = tmp_path / "start"
    adopt_checkpoint(stock, run / "graph", model, directory)
    for path in directory.glob("*.v0.h5"):
        path.rename(path.with_name(path.name.replace(".v0.", ".v1.")))
    (directory / "checkpoint_version.txt").write_text("1\n")
    return directory


def mrr(run: Path, model_dir: Path, model: ModelConfig) -> float:
    found = evaluate(run / "graph", model_dir, model, EvaluateConfig(), lambda label, fraction: None)
    return float(found["mrr"])


def test_a_start_that_does_not_fit_is_65(
    root: Path, ours: Path, stock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(stock, tmp_path / "stock")
    with h5py.File(next((tmp_path / "stock").glob("model.v*.h5")), "r+") as file:
        file["model/relations/1/operator/rhs/rotation"] = np.eye(D)
    good, unknown = "model.start_from=stock", f"model.start_from={tmp_path / 'stock'}"
    for values, message in (
        ([good, "model.dimension=16"], "vectors of length 8, expected"),
        ([good, "model.similarity=cos"], "trained with comparator 'squared_l2', model.similarity is 'cos'"),
        ([unknown], "key 'rhs_operators.1.rotation': found (8, 8), expected no such key"),
        (["model.start_from=nowhere"], "nowhere/checkpoint_version.txt: expected the number of a committed checkpoint"),
    ):
        options = [word for value in values for word in ("--set", value)]
        assert transra(root, "train", *options) == 65
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error
