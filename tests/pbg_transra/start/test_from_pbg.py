"""`model.start_from`: what the checkpoints of stock PyTorch-BigGraph become, on random ones."""

import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchbiggraph.checkpoint_manager import CheckpointManager
from torchbiggraph.edgelist import EdgeList
from torchbiggraph.entitylist import EntityList
from torchbiggraph.model import MultiRelationEmbedder
from torchbiggraph.types import Side

from artifacts.errors import DataError
from artifacts.formats.graph import Graph
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.embedder import make_embedder
from pbg_transra.start.from_pbg import SOURCES, adopt_checkpoint, check_start
from tests.worlds.small_graphs import block_graph
from tests.worlds.stock_checkpoints import Config, D, stock_config, write_stock

NEGATIVES: dict[str, Any] = {
    "batch_negatives": 50,
    "uniform_negatives": 50,
}  # PBG masks scores only where a batch has negatives


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


def test_an_anchor_without_translation_takes_none_over(small: tuple[Graph, Path], tmp_path: Path) -> None:
    model = ModelConfig(
        anchors=("click",), anchor_translation=False, dimension=D, similarity="squared_l2", scale=1, **NEGATIVES
    )
    adoption, theirs, found = adopt(small, tmp_path, ("translation", "translation"), model)
    assert (adoption.exact, adoption.start_only) == (("save",), ("click",))
    assert not torch.allclose(theirs[0], found[0], rtol=1e-3, atol=1e-3)
    kept = CheckpointManager(str(tmp_path / "start")).read_model()[0]
    assert not kept["rhs_operators.0.translation"].any()
    assert kept["rhs_operators.1.translation"].all()


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
def test_another_model_is_refused(small: tuple[Graph, Path], tmp_path: Path, change: Config, message: str) -> None:
    graph, graph_dir = small
    write_stock(stock_config(graph, graph_dir, tmp_path, ("translation", "affine"), **change), graph)
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


class Planted:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("stem", ["embeddings_user_0", "model"])
@pytest.mark.parametrize("variable", ["0", "1"])
def test_no_pickle_is_executed_whatever_the_environment_says(
    small: tuple[Graph, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: str, variable: str
) -> None:
    """PBG keeps the optimiser's state as a pickle, and torch lets a variable decide what may be in it."""
    graph, graph_dir = small
    names = tuple("translation" for _ in graph.relations)
    write_stock(stock_config(graph, graph_dir, tmp_path / "pbg", names), graph)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", variable)
    pickled = io.BytesIO()
    torch.save({"state": Planted(tmp_path / "executed")}, pickled)
    with h5py.File(tmp_path / f"pbg/{stem}.v1.h5", "r+") as file:
        del file["optimizer/state_dict"]
        file["optimizer/state_dict"] = np.frombuffer(pickled.getvalue(), np.uint8)
    model = ModelConfig(operator="transr", dimension=D, similarity="squared_l2")
    with pytest.raises(DataError, match="cannot be read") as caught:
        adopt_checkpoint(tmp_path / "pbg", graph_dir, model, tmp_path / "start")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()
