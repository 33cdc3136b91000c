"""PyTorch-BigGraph's own readers and programs on our files, and our training from a checkpoint that it wrote."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adagrad
from torchbiggraph.checkpoint_manager import CheckpointManager
from torchbiggraph.config import ConfigSchema
from torchbiggraph.edgelist import EdgeList
from torchbiggraph.entitylist import EntityList
from torchbiggraph.graph_storages import FileEdgeStorage, FileEntityStorage, FileRelationTypeStorage
from torchbiggraph.model import MultiRelationEmbedder, make_model
from torchbiggraph.row_adagrad import RowAdagrad
from torchbiggraph.types import Side

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from artifacts.graph import Graph, edge_path, load_graph
from pbg_transra.adopt import SOURCES, adopt_checkpoint, check_start
from pbg_transra.config import EvaluateConfig, ModelConfig
from pbg_transra.embedder import make_embedder
from pbg_transra.evaluation.report import evaluate
from pipeline.cli import main
from tests.small_graphs import block_graph

D = 8
NEGATIVES: dict[str, Any] = {
    "batch_negatives": 50,
    "uniform_negatives": 50,
}  # PBG masks scores only where a batch has negatives
EVENTS = 3000
Config = dict[str, Any]


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


# ---- from its checkpoint: values, on random checkpoints --------------------------------------------------------------


def stock_config(graph: Graph, graph_dir: Path, checkpoint: Path, operators: tuple[str, ...], **more: Any) -> Config:
    return {
        "entities": {kind.name: {"num_partitions": kind.partitions} for kind in graph.entity_types},
        "relations": [
            {"name": relation.name, "lhs": relation.lhs, "rhs": relation.rhs, "operator": operator}
            for relation, operator in zip(graph.relations, operators, strict=True)
        ],
        "dimension": D,
        "entity_path": str(graph_dir),
        "edge_paths": [str(edge_path(graph_dir, "train"))],
        "checkpoint_path": str(checkpoint),
        "comparator": "squared_l2",
        **more,
    }


def write_stock(config: Config, graph: Graph) -> tuple[MultiRelationEmbedder, dict[tuple[str, int], Tensor]]:
    """Writes a checkpoint as PBG's training does, of random numbers; returns its model and its tables."""
    schema = ConfigSchema.from_dict(config)
    model, manager = make_model(schema), CheckpointManager(config["checkpoint_path"])
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    optimizer = Adagrad(model.parameters(), lr=0.5) if list(model.parameters()) else None
    for values in (optimizer.state[p]["sum"] for p in model.parameters()) if optimizer else ():
        values.uniform_(1, 2)
    tables = {}
    for kind in graph.entity_types:
        for partition, count in enumerate(kind.counts):
            table = tables[kind.name, partition] = nn.Parameter(torch.randn(count, D))
            rows = RowAdagrad([table], lr=0.5)
            rows.state[table]["sum"].uniform_(1, 2)
            manager.write(kind.name, partition, table.detach(), rows.state_dict())
    manager.write_config(schema)
    manager.write_model(dict(model.state_dict()), optimizer.state_dict() if optimizer else None)
    manager.switch_to_new_version()
    return model, tables


def scores(model: MultiRelationEmbedder, tables: dict[tuple[str, int], Tensor], graph: Graph) -> list[Tensor]:
    """All scores of some edges of each relation in bucket (1, 0), with the same negatives for every model."""
    found = []
    torch.manual_seed(1)
    for index, relation in enumerate(graph.relations):
        for side, kind, partition in ((Side.LHS, relation.lhs, 1), (Side.RHS, relation.rhs, 0)):
            model.set_embeddings(kind, nn.Parameter(tables[kind, partition].detach()), side)
        ends = [EntityList.from_tensor(torch.randint(0, 15, (40,))) for _ in range(2)]
        with torch.no_grad():
            found.append(torch.cat([part.flatten() for part in model(EdgeList(*ends, torch.tensor(index)))]))
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Path]:
    directory = tmp_path_factory.mktemp("small")
    return block_graph(directory), directory


def adopt(
    small: tuple[Graph, Path], tmp_path: Path, sources: tuple[str, ...], model: ModelConfig, **more: Any
) -> tuple[Any, list[Tensor], list[Tensor]]:
    """Returns the adoption, PBG's scores and ours."""
    graph, graph_dir = small
    config = stock_config(graph, graph_dir, tmp_path / "pbg", sources, comparator=model.similarity, **more)
    theirs = scores(*write_stock(config, graph), graph)
    adoption = adopt_checkpoint(tmp_path / "pbg", graph_dir, model, tmp_path / "start")
    embedder, manager = make_embedder(graph, model), CheckpointManager(str(tmp_path / "start"))
    embedder.load_state_dict(manager.read_model()[0])
    tables = {(k.name, p): manager.read(k.name, p)[0] for k in graph.entity_types for p in range(k.partitions)}
    return adoption, theirs, scores(embedder, tables, graph)


@pytest.mark.parametrize("similarity", ["l2", "squared_l2", "cos", "dot"])
@pytest.mark.parametrize(("source", "target"), SOURCES)
def test_scores_are_those_of_pbg_where_that_is_said(
    small: tuple[Graph, Path], tmp_path: Path, source: str, target: str, similarity: Any
) -> None:
    """And where it is not said they are others. PBG's default, a vector per type, is on."""
    kind: dict[str, Any] = (
        {"operator": "transra", "anchors": ("click", "save")} if target == "transra_anchor" else {"operator": target}
    )
    model = ModelConfig(**kind, dimension=D, similarity=similarity, scale=1, **NEGATIVES)
    adoption, theirs, found = adopt(small, tmp_path, (source, source), model, global_emb=True)
    same = [torch.allclose(t, f, rtol=1e-3, atol=1e-3) for t, f in zip(theirs, found, strict=True)]
    assert same == [name in adoption.exact for name in ("click", "save")]
    assert adoption.exact + adoption.start_only == ("click", "save")
    assert adoption.ids_compared
    no_vector, no_matrix = source in ("none", "linear"), target != "transra" or source in ("none", "translation")
    assert all(same) == (no_matrix and (no_vector or similarity in ("l2", "squared_l2")))


@pytest.mark.parametrize("operator", ["none", "diagonal", "translation", "linear", "affine", "complex_diagonal"])
def test_its_own_operators_stay_as_they_are(small: tuple[Graph, Path], tmp_path: Path, operator: Any) -> None:
    model = ModelConfig(operator=operator, dimension=D, similarity="dot", scale=1, **NEGATIVES)
    adoption, theirs, found = adopt(small, tmp_path, (operator, operator), model, global_emb=False)
    assert adoption.exact == ("click", "save")
    for one, other in zip(theirs, found, strict=True):
        torch.testing.assert_close(one, other)


def test_sums_come_along(small: tuple[Graph, Path], tmp_path: Path) -> None:
    model = ModelConfig(operator="transra_untied", anchors=("click",), dimension=D, similarity="squared_l2", lr=0.3)
    adopt(small, tmp_path, ("translation", "affine"), model)
    theirs, ours = CheckpointManager(str(tmp_path / "pbg")), CheckpointManager(str(tmp_path / "start"))
    (_, old), (_, new) = theirs.read("user", 1), ours.read("user", 1)
    torch.testing.assert_close(old["state"][0]["sum"], new["state"][0]["sum"])
    assert new["param_groups"][0]["lr"] == 0.3
    old, new = theirs.read_model()[1]["state"], ours.read_model()[1]["state"]
    names = [name for name, _ in make_embedder(small[0], model).named_parameters()]
    sums = {name: new[index]["sum"] for index, name in enumerate(names)}
    torch.testing.assert_close(sums["rhs_operators.0.translation"], old[0]["sum"])
    torch.testing.assert_close(sums["rhs_operators.1.right_projection"], old[1]["sum"].flatten())
    torch.testing.assert_close(sums["rhs_operators.1.translation"], old[2]["sum"])
    assert not sums["rhs_operators.1.left_projection"].any()


# ---- from its checkpoint: what is refused ----------------------------------------------------------------------------


def edit_model(directory: Path, remove: str | None = None, add: str | None = None) -> None:
    with h5py.File(directory / "model.v1.h5", "r+") as file:
        if remove:
            del file["model"][remove]
        if add:
            file["model"][add] = np.zeros(D, np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": 2 * D}, r"another graph or dimension: .* of length 16, expected .* of length 8"),
        ({"comparator": "cos"}, "trained with comparator 'cos', model.similarity is 'squared_l2'"),
        ({"bias": True}, "trained with bias True, which our model does not have"),
        ({"max_norm": 1.0}, "trained with max_norm 1.0"),
    ],
)
def test_another_model_is_refused(
    small: tuple[Graph, Path], tmp_path: Path, change: Config, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, graph_dir = small
    monkeypatch.setattr(sys.modules[__name__], "D", change.get("dimension", D))
    config = stock_config(graph, graph_dir, tmp_path, ("translation", "affine"), **{**change, "dimension": D})
    write_stock(config, graph)
    refused(tmp_path, graph_dir, message)


def refused(checkpoint: Path, graph_dir: Path, message: str, operator: Any = "transra_untied") -> None:
    model = ModelConfig(operator=operator, anchors=("click",), dimension=8, similarity="squared_l2")
    with pytest.raises(DataError, match=message) as caught:
        check_start(checkpoint, graph_dir, model)
    assert len(caught.value.lines) == 1
    assert "\n" not in caught.value.lines[0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"add": "relations/7/operator/rhs/real"}, "key 'rhs_operators.7.real': found .8,., expected no such key"),
        ({"add": "relations/0/operator/lhs/translation"}, "key 'lhs_operators.0.translation': found .8,., expected no"),
        ({"add": "something"}, "Couldn't find a match for dataset name: something"),
        ({"remove": "relations/1/operator/rhs/translation"}, "key 'rhs_operators.1.translation': found nothing"),
        ({"remove": "entities/pin/global_embedding"}, "key 'global_embs.emb_pin': found nothing, expected .8,."),
    ],
)
def test_every_key_is_checked(small: tuple[Graph, Path], tmp_path: Path, edit: dict[str, str], message: str) -> None:
    graph, graph_dir = small
    write_stock(stock_config(graph, graph_dir, tmp_path, ("translation", "affine")), graph)
    edit_model(tmp_path, **edit)
    refused(tmp_path, graph_dir, message)


def test_an_operator_that_cannot_be_expressed_is_refused(small: tuple[Graph, Path], tmp_path: Path) -> None:
    graph, graph_dir = small
    write_stock(stock_config(graph, graph_dir, tmp_path, ("affine", "affine")), graph)
    refused(tmp_path, graph_dir, "relation 'click': PBG's operator 'affine' cannot become 'transra_anchor'")


def test_a_checkpoint_of_another_graph_is_refused(small: tuple[Graph, Path], tmp_path: Path) -> None:
    graph, graph_dir = small
    config = stock_config(graph, graph_dir, tmp_path / "a", ("translation", "affine"))
    config["relations"][1]["name"] = "like"
    write_stock(config, graph)
    refused(tmp_path / "a", graph_dir, r"another graph: relation 1 is 'like' \(user -> pin\), expected 'save'")
    (tmp_path / "larger").mkdir()
    others = block_graph(tmp_path / "larger", users=70)
    write_stock(stock_config(others, tmp_path / "larger", tmp_path / "b", ("translation", "affine")), others)
    refused(tmp_path / "b", graph_dir, "another graph or dimension: type 'user', partition 0: found 35 vectors")
    for kind in graph.entity_types:
        for partition, count in enumerate(kind.counts):
            names = [f"{kind.name}{row}" for row in range(count)]
            (tmp_path / f"entity_names_{kind.name}_{partition}.json").write_text(json.dumps(names))
    write_stock(stock_config(graph, tmp_path, tmp_path / "c", ("translation", "affine")), graph)
    refused(tmp_path / "c", graph_dir, "type 'user', partition 0, offset 0 is 'user0' in .*, expected 'u0'")


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
