"""The embedder scores what the formula says, and its gradients are right in double precision."""

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torchbiggraph.edgelist import EdgeList
from torchbiggraph.entitylist import EntityList
from torchbiggraph.model import SimpleEmbedding
from torchbiggraph.types import Side

from artifacts.formats.graph import EntityType, Graph, Relation
from pbg_transra.backends.edges import Edges
from pbg_transra.backends.reference import ReferenceProcessor
from pbg_transra.config import ModelConfig, Operator, Similarity
from pbg_transra.pbg.embedder import TransRAEmbedder, make_embedder
from pbg_transra.pbg.losses import make_loss

TWO_SIDED = ("transra", "transra_untied", "transe", "transr")
GRAPH = Graph(
    entity_types=(EntityType("user", (7,)), EntityType("pin", (5,))),
    relations=tuple(
        Relation(name, "user", "pin", "onsite", {"train": 1, "valid": 0, "test": 0}) for name in ("click", "save")
    ),
    consent={},
    window=(None, None),
)


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


def config(operator: str, similarity: str = "dot", **changes: object) -> ModelConfig:
    anchors = ("click",) if operator in ("transra", "transra_untied") else ()
    dimension = 4 if operator == "complex_diagonal" else 3
    few = {"batch_size": 6, "batch_negatives": 3, "uniform_negatives": 2}
    values = {"dimension": dimension, "scale": 2.0, **few, **changes}
    return ModelConfig(operator=operator, anchors=anchors, similarity=similarity, **values)


def random_model(settings: ModelConfig) -> TransRAEmbedder:
    """All parameters away from their initial values, where gradients could be right by chance."""
    torch.manual_seed(3)
    model = make_embedder(GRAPH, settings)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    for kind, side in (("user", Side.LHS), ("pin", Side.RHS)):
        count = GRAPH.entity_type(kind).count
        model.set_embeddings(kind, nn.Parameter(torch.randn(count, settings.dimension)), side)
    return model


def batch(relation: int, count: int = 5) -> EdgeList:
    heads = EntityList.from_tensor(torch.randint(7, (count,)))
    return EdgeList(heads, EntityList.from_tensor(torch.randint(5, (count,))), torch.tensor(relation))


def edges_of(edges: EdgeList, weights: Tensor | None = None) -> Edges:
    relations = edges.rel.expand(len(edges))
    return Edges(edges.lhs.to_tensor(), edges.rhs.to_tensor(), relations, weights)


def similarity_of(kind: str, left: Tensor, right: Tensor) -> Tensor:
    """The definition, row by row."""
    if kind == "dot":
        return (left * right).sum(-1)
    if kind == "cos":
        return torch.cosine_similarity(left, right, dim=-1)
    squared = (left - right).square().sum(-1)
    return -squared if kind == "squared_l2" else -squared.sqrt()


@pytest.mark.parametrize(("operator", "similarity"), list(product(TWO_SIDED, get_args(Similarity))))
def test_scores_follow_the_formula(operator: str, similarity: str) -> None:
    model = random_model(config(operator, similarity))
    for relation in (0, 1):
        edges = batch(relation)
        heads = model.lhs_embs["emb_user"].weight[edges.lhs.to_tensor()]
        tails = model.rhs_embs["emb_pin"].weight[edges.rhs.to_tensor()]
        right = model.rhs_operators[relation]
        left = right.projections()[:1] or [torch.eye(3)]
        tail_projection = right.projections()[-1:] or [torch.eye(3)]
        views = heads @ left[0].T + right.translation, tails @ tail_projection[0].T
        expected = 2.0 * similarity_of(similarity, *views)
        torch.testing.assert_close(model(edges).lhs_pos, expected, rtol=1e-9, atol=1e-9)


def test_an_anchor_has_no_projection_and_transr_has_no_anchor() -> None:
    names = {n for n, _ in random_model(config("transra")).named_parameters() if n.startswith("rhs_operators.0")}
    assert names == {"rhs_operators.0.translation"}
    assert dict(random_model(config("transr")).named_parameters())["rhs_operators.0.projection"].shape == (9,)


class Loss(nn.Module):
    """The processor's loss as a module over the model's parameters."""

    def __init__(self, model: TransRAEmbedder, settings: ModelConfig) -> None:
        super().__init__()
        self.model = model
        self.processor = ReferenceProcessor(model, settings, workers=1)

    def forward(self, edges: Edges) -> Tensor:
        torch.manual_seed(0)  # the same negatives each time
        return self.processor.loss(edges)


def check_gradients(settings: ModelConfig, weights: Tensor | None = None) -> None:
    """autograd.gradcheck compares with central differences, for the anchor (0) and the projected relation (1).

    Five edges in chunks of three: the last chunk is padded.
    """
    loss = Loss(random_model(settings), settings)
    for module in loss.modules():
        if isinstance(module, SimpleEmbedding):
            module.forward = partial(dense_rows, module)  # gradcheck takes no sparse gradients
            module.get = partial(dense_rows, module)
    names = [name for name, _ in loss.named_parameters()]
    inputs = [parameter.detach().clone().requires_grad_() for parameter in loss.parameters()]
    for relation in (0, 1):
        edges = edges_of(batch(relation), weights)

        def loss_of(*values: Tensor, edges: Edges = edges) -> Tensor:
            return functional_call(loss, dict(zip(names, values, strict=True)), (edges,))

        assert torch.autograd.gradcheck(loss_of, inputs)


def dense_rows(module: SimpleEmbedding, rows: EntityList | Tensor) -> Tensor:
    return module.weight[rows.to_tensor() if isinstance(rows, EntityList) else rows]


@pytest.mark.parametrize(("operator", "similarity"), list(product(TWO_SIDED, get_args(Similarity))))
def test_gradients_of_all_operators_and_similarities(operator: str, similarity: str) -> None:
    check_gradients(config(operator, similarity, pull=0.3, regularization=0.2, head_weight=0.4))


@pytest.mark.parametrize("loss", ["logistic", "ranking"])
def test_gradients_of_the_other_losses(loss: str) -> None:
    check_gradients(config("transra", "l2", loss=loss, margin=0.5))


@pytest.mark.parametrize("operator", get_args(Operator))
@pytest.mark.parametrize("loss", ["softmax", "logistic", "ranking"])
def test_an_edge_of_weight_three_is_three_edges(operator: str, loss: str) -> None:
    """Its loss, and the loss's gradient by every vector and parameter. Uniform negatives, since copies of an edge
    in one batch would be one another's."""
    settings = config(operator, loss=loss, margin=0.5, batch_negatives=0, uniform_negatives=4, regularization=0.2)
    few = edges_of(batch(1, 4), torch.tensor([1.0, 3.0, 1.0, 2.0]))
    copies = Edges(*(column[[0, 1, 1, 1, 2, 3, 3]] for column in (few.heads, few.tails, few.relations)), None)
    found = []
    for edges in (few, copies):
        model = random_model(settings)
        for module in (model.lhs_embs["emb_user"], model.rhs_embs["emb_pin"]):
            module.sample_entities = partial(same_rows, module)
        loss_of = ReferenceProcessor(model, settings, workers=1).loss(edges)
        pull = 0.0 if operator not in TWO_SIDED else (7 - 4) * settings.pull  # it counts edges, whatever they weigh
        for projection in getattr(model.rhs_operators[1], "projections", list)():
            loss_of = loss_of + (edges is few) * pull * (projection - torch.eye(len(projection))).square().sum()
        loss_of.backward()
        found.append([loss_of.detach(), *(p.grad.to_dense() for p in model.parameters() if p.grad is not None)])
    torch.testing.assert_close(found[0], found[1])


def same_rows(module: SimpleEmbedding, chunks: int, count: int) -> Tensor:
    """Every chunk gets the same negatives, however many there are."""
    return module.get(torch.arange(count).expand(chunks, count))


@pytest.mark.parametrize("loss", ["softmax", "logistic", "ranking"])
def test_weighted_losses_of_edges_add_up_to_pbgs(loss: str) -> None:
    loss_of = make_loss(config("transra", loss=loss, margin=0.5))
    positives, negatives = torch.randn(6), torch.randn(6, 5)
    torch.testing.assert_close(loss_of(positives, negatives, torch.ones(6)), loss_of(positives, negatives))
    each = sum(w * loss_of(positives[[i]], negatives[[i]]) for i, w in enumerate((1, 2, 0, 3, 1, 1)))
    weights = torch.tensor([1.0, 2, 0, 3, 1, 1])
    torch.testing.assert_close(loss_of(positives, negatives, weights), each)


def test_gradients_of_weighted_edges() -> None:
    check_gradients(config("transra", "cos", pull=0.3, regularization=0.2), torch.rand(5) + 0.5)


def test_an_anchor_without_translation_keeps_the_zero() -> None:
    settings = config("transra", anchor_translation=False)
    model = make_embedder(GRAPH, settings)
    learns = [operator.translation.requires_grad for operator in model.rhs_operators]
    assert learns == [relation.name not in settings.anchors for relation in GRAPH.relations]
    assert not model.rhs_operators[0].translation.any()


@pytest.mark.parametrize("operator", get_args(Operator))
@pytest.mark.parametrize("negatives", [(3, 2), (0, 4), (3, 0)])
def test_every_parameter_gets_a_gradient(operator: str, negatives: tuple[int, int]) -> None:
    """Also those of relation operators that stock PBG defines: every operator is in the list by construction."""
    model = random_model(config(operator, batch_negatives=negatives[0], uniform_negatives=negatives[1]))
    processor = ReferenceProcessor(model, config(operator), workers=1)
    sum(processor.loss(edges_of(batch(relation, 12))) for relation in (0, 1)).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.to_dense().abs().sum()]
    assert without == []


def test_without_batch_negatives_a_small_batch_is_not_padded() -> None:
    """PBG would score uniform_negatives rows for a batch of two (and allocate as many)."""
    model = random_model(config("transra", batch_negatives=0, uniform_negatives=50))
    seen = []
    model.comparator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    scores = model(batch(1, 2))
    assert seen == [torch.Size([1, 2, 3])]
    assert scores.lhs_neg.shape == (2, 50)
