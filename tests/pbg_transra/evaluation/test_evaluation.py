"""Evaluation against a brute force that shares no code with it: ties, filters, partitions and every operator."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.formats.graph import SPLITS, EntityType, Graph, Relation, edge_path, ids_path, save_graph
from pbg_transra.config import ANCHORED, EvaluateConfig, ModelConfig, Operator
from pbg_transra.evaluation import ranking
from pbg_transra.evaluation.report import evaluate
from pbg_transra.evaluation.validator import Validator

D = 4
COUNTS = {"user": 30, "pin": 40, "country": 5}
RELATIONS = {
    "click": ("user", "pin"),
    "save": ("user", "pin"),
    "follow": ("user", "user"),
    "lives": ("user", "country"),
}
ENDS = list(RELATIONS.values())
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "none": {},
    "diagonal": {"diagonal": (D,)},
    "translation": {"translation": (D,)},
    "linear": {"linear_transformation": (D, D)},
    "affine": {"linear_transformation": (D, D), "translation": (D,)},
    "complex_diagonal": {"real": (D // 2,), "imag": (D // 2,)},
    "transe": {"translation": (D,)},
    "transr": {"projection": (D * D,), "translation": (D,)},
    "transra": {"projection": (D * D,), "translation": (D,)},
    "transra_untied": {"left_projection": (D * D,), "right_projection": (D * D,), "translation": (D,)},
}
CONFIG = EvaluateConfig()

Vectors = NDArray[np.float64]
Triple = tuple[int, int, int]


@dataclass
class World:
    """Vectors by type, parameters by relation, triples (head, relation, tail) by split, in rows of one partition."""

    model: ModelConfig
    vectors: dict[str, Vectors]
    parameters: list[dict[str, Vectors]]
    triples: dict[str, list[Triple]]


def make_world(operator: Operator, similarity: Any, seed: int = 0) -> World:
    """Few different vectors, so that scores tie often; and of whole numbers, so that they do exactly.

    Cosines of whole numbers tie beyond the last digit only, so there components are real. Some entities have no edge.
    """
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> Vectors:
        values = rng.normal(size=shape) if similarity == "cos" else rng.integers(-2, 3, shape)
        return values.astype(np.float32).astype(float)  # as the checkpoint keeps them

    few = np.concatenate([np.zeros((1, D)), numbers(15, D)])
    anchors = ("click",) if operator in ANCHORED else ()
    model = ModelConfig(operator=operator, anchors=anchors, dimension=D, similarity=similarity, scale=3.0)
    vectors = {name: few[rng.integers(0, len(few), count)] for name, count in COUNTS.items()}
    names = [{"translation": (D,)} if name in anchors else SHAPES[operator] for name in RELATIONS]
    parameters = [{key: numbers(*shape) for key, shape in shapes.items()} for shapes in names]
    triples: dict[str, list[Triple]] = {}
    for split, count in (("train", 120), ("valid", 20), ("test", 40)):
        limit = 0.6 if split == "train" else 1.0  # entities above it are cold
        triples[split] = []
        for relation in rng.integers(0, len(RELATIONS), count).tolist():
            ends = [int(limit * COUNTS[kind] * rng.random() ** 2) for kind in ENDS[relation]]
            triples[split].append((ends[0], relation, ends[1]))
    return World(model, vectors, parameters, triples)


def write(root: Path, world: World, partitions: int) -> tuple[Path, Path]:
    """Writes a world as graph and checkpoint, entities dealt at random to partitions; 'country' is never split."""
    rng = np.random.default_rng(partitions)
    parts = {name: 1 if name == "country" else partitions for name in COUNTS}
    places: dict[str, list[tuple[int, int]]] = {}
    types = []
    for name, count in COUNTS.items():
        partition = rng.integers(0, parts[name], count)
        places[name] = [(int(p), int((partition[:row] == p).sum())) for row, p in enumerate(partition)]
        types.append(EntityType(name, tuple(int((partition == p).sum()) for p in range(parts[name]))))
        for p in range(parts[name]):
            write_partition(root, name, p, np.flatnonzero(partition == p), world.vectors[name])
    write_model(root / "model", world)
    write_edges(root / "graph", world, places, partitions)
    counts = [{s: sum(t[1] == r for t in world.triples[s]) for s in SPLITS} for r in range(len(RELATIONS))]
    relations = [Relation(name, *ends, "onsite", counts[r]) for r, (name, ends) in enumerate(RELATIONS.items())]
    save_graph(root / "graph", Graph(tuple(types), tuple(relations), {}, (None, None)))
    return root / "graph", root / "model"


def write_partition(root: Path, name: str, partition: int, rows: NDArray[np.int64], vectors: Vectors) -> None:
    path = ids_path(root / "graph", name, partition)
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / "model").mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": pa.array([f"{name}{row}" for row in rows], pa.string())}), path)
    with h5py.File(root / "model" / f"embeddings_{name}_{partition}.v1.h5", "w") as file:
        file["embeddings"] = vectors[rows].astype(np.float32)


def write_model(directory: Path, world: World) -> None:
    (directory / "checkpoint_version.txt").write_text("1\n")
    with h5py.File(directory / "model.v1.h5", "w") as file:
        for relation, parameters in enumerate(world.parameters):
            for name, values in parameters.items():
                file[f"model/relations/{relation}/operator/rhs/{name}"] = values.astype(np.float32)


def write_edges(graph_dir: Path, world: World, places: dict[str, list[tuple[int, int]]], partitions: int) -> None:
    for split in SPLITS:
        buckets: dict[tuple[int, int], list[Triple]] = {
            (i, j): [] for i in range(partitions) for j in range(partitions)
        }
        for head, relation, tail in world.triples[split]:
            lhs, rhs = ENDS[relation]
            (i, lhs_offset), (j, rhs_offset) = places[lhs][head], places[rhs][tail]
            buckets[i, j].append((lhs_offset, relation, rhs_offset))
        edge_path(graph_dir, split).mkdir(parents=True)
        for (i, j), edges in buckets.items():
            columns = np.array(edges, np.int64).reshape(-1, 3).T
            with h5py.File(edge_path(graph_dir, split) / f"edges_{i}_{j}.h5", "w") as file:
                file["lhs"], file["rel"], file["rhs"] = columns


# ---- the reference: one triple, one side and one candidate at a time -------------------------------------------------


def reference_views(world: World, relation: int, head: Vectors, tail: Vectors) -> tuple[Vectors, Vectors]:
    p, operator = world.parameters[relation], world.model.operator
    if list(RELATIONS)[relation] in world.model.anchors or operator == "transe":
        return head + p["translation"], tail
    if operator in ("transra", "transr"):
        matrix = p["projection"].reshape(D, D)
        return matrix @ head + p["translation"], matrix @ tail
    if operator == "transra_untied":
        left, right = (p[f"{side}_projection"].reshape(D, D) for side in ("left", "right"))
        return left @ head + p["translation"], right @ tail
    if operator == "complex_diagonal":
        product = (tail[: D // 2] + 1j * tail[D // 2 :]) * (p["real"] + 1j * p["imag"])
        return head, np.concatenate([product.real, product.imag])
    tail = p.get("diagonal", 1) * (p["linear_transformation"] @ tail if "linear_transformation" in p else tail)
    return head, tail + p.get("translation", 0)


def reference_score(world: World, relation: int, head: Vectors, tail: Vectors, plain: bool) -> float:
    left, right = (head, tail) if plain else reference_views(world, relation, head, tail)
    if world.model.similarity == "dot":
        return world.model.scale * float(left @ right)
    if world.model.similarity == "cos":
        norms = float(np.sqrt(left @ left) * np.sqrt(right @ right))
        return world.model.scale * float(left @ right) / norms if norms else 0.0
    squared = float((left - right) @ (left - right))
    return -world.model.scale * (squared if world.model.similarity == "squared_l2" else math.sqrt(squared))


def loopless(world: World) -> list[int]:
    """Relations within one type in whose training edges no entity meets itself."""
    loops = {relation for head, relation, tail in world.triples["train"] if head == tail}
    return [index for index, (lhs, rhs) in enumerate(ENDS) if lhs == rhs and index not in loops]


def reference_ranks(
    world: World, split: str, plain: bool = False, bar: bool = True
) -> list[tuple[int, str, float, float, bool]]:
    """Returns relation, side, rank, share of false candidates beaten and warmth of every ranking.

    `bar`: the entity asked from is no candidate of relations without loops.
    """
    true = {triple for s in SPLITS for triple in world.triples[s]}
    warm = {(ENDS[r][end], (h, t)[end]) for h, r, t in world.triples["train"] for end in (0, 1)}
    rows = []
    for head, relation, tail in world.triples[split]:
        lhs, rhs = (world.vectors[name] for name in ENDS[relation])
        own = reference_score(world, relation, lhs[head], rhs[tail], plain)
        both = (ENDS[relation][0], head) in warm and (ENDS[relation][1], tail) in warm
        for side in ("lhs", "rhs"):
            heads = range(len(lhs)) if side == "lhs" else [head]
            tails = range(len(rhs)) if side == "rhs" else [tail]
            others = [(h, t) for h in heads for t in tails if (h, relation, t) not in true]
            if bar and relation in loopless(world):
                others = [(h, t) for h, t in others if h != t]
            scores = [reference_score(world, relation, lhs[h], rhs[t], plain) for h, t in others]
            worse = sum(s > own for s in scores) + sum(s == own for s in scores) / 2
            rows.append((relation, side, 1 + worse, 1 - worse / len(scores), both))
    return rows


def expect(found: dict[str, Any], rows: list[tuple[int, str, float, float, bool]], hits: str = "hits") -> None:
    """Holds a node of the tree against the reference's rankings."""
    ranks, beaten = np.array([row[2] for row in rows]), np.array([row[3] for row in rows])
    expected = {
        "mrr": (1 / ranks).mean(),
        "auc": beaten.mean(),
        **{f"{hits}@{k}": (ranks <= k).mean() for k in CONFIG.ks},
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-9)


def run(
    paths: tuple[Path, Path],
    world: World,
    config: EvaluateConfig = CONFIG,
    tell: Callable[[str, float], None] = lambda label, fraction: None,
) -> dict[str, Any]:
    return evaluate(*paths, world.model, config, tell, torch.float64)


@pytest.mark.parametrize("similarity", ["dot", "cos", "l2", "squared_l2"])
@pytest.mark.parametrize("operator", get_args(Operator))
def test_every_operator_ranks_as_the_brute_force(tmp_path: Path, operator: Operator, similarity: str) -> None:
    world = make_world(operator, similarity)
    tree, rows = run(write(tmp_path, world, 2), world), reference_ranks(world, "test")
    expect(tree, rows)
    for side in ("lhs", "rhs"):
        expect(tree[side], [row for row in rows if row[1] == side])
    follow = list(RELATIONS).index("follow")
    barred = loopless(world) == [follow]
    assert tree["own_entity_barred"] == (["follow"] if barred else []) and ("barred in 1" in tree["protocol"]) == barred
    assert tree["relations"]["follow"]["own_entity_barred"] == barred
    if barred:
        allowed = reference_ranks(world, "test", bar=False)
        expect(tree["own_entity_allowed"], allowed)
        expect(tree["relations"]["follow"]["own_entity_allowed"], [row for row in allowed if row[0] == follow])
    expect(tree["warm"], [row for row in rows if row[4]])
    expect(tree["cold"], [row for row in rows if not row[4]])
    assert tree["triples"] == tree["warm"]["triples"] + tree["cold"]["triples"] == 40
    for index, name in enumerate(RELATIONS):
        of_relation = [row for row in rows if row[0] == index]
        expect(tree["relations"][name], of_relation)
        expect(tree["relations"][name]["rhs"], [row for row in of_relation if row[1] == "rhs"])


@pytest.mark.parametrize("loop", ["train", "test", None])
def test_the_entity_asked_from_is_barred_where_training_has_no_loop(tmp_path: Path, loop: str | None) -> None:
    """A loop in training allows them all; one in test is itself asked for, and found."""
    world, follow = make_world("transra", "dot"), list(RELATIONS).index("follow")
    world.triples = {s: [t for t in found if t[1] != follow or t[0] != t[2]] for s, found in world.triples.items()}
    if loop:
        world.triples[loop].append((3, follow, 3))
    tree, rows = run(write(tmp_path, world, 2), world), reference_ranks(world, "test")
    assert tree["own_entity_barred"] == ([] if loop == "train" else ["follow"])
    expect(tree, rows)
    plain = [row for row in reference_ranks(world, "test", plain=True) if row[0] == follow]
    expect(tree["anchor_retrieval"]["pairs"]["user->user"], plain, "recall")
    assert ("own_entity_allowed" in tree) == (loop != "train")
    if loop != "train":
        expect(tree["own_entity_allowed"], reference_ranks(world, "test", bar=False))
        allowed = [row for row in reference_ranks(world, "test", plain=True, bar=False) if row[0] == follow]
        expect(tree["anchor_retrieval"]["own_entity_allowed"]["pairs"]["user->user"], allowed, "recall")


def test_bands_are_of_the_training_edges_of_the_answer(tmp_path: Path) -> None:
    world = make_world("transra", "dot")
    edges: dict[tuple[str, int], int] = {}
    for head, relation, tail in world.triples["train"]:
        for key in ((ENDS[relation][0], head), (ENDS[relation][1], tail)):
            edges[key] = edges.get(key, 0) + 1
    asked = [
        edges.get((ENDS[relation][end], (head, tail)[end]), 0)
        for head, relation, tail in world.triples["test"]
        for end in (0, 1)
    ]
    tree = run(write(tmp_path, world, 2), world)
    bounds = {"0": (0, 0), "1-2": (1, 2), "3-9": (3, 9), "10-99": (10, 99), "100+": (100, 1 << 30)}
    for node, hits, plain in ((tree, "hits", False), (tree["anchor_retrieval"], "recall", True)):
        rows = reference_ranks(world, "test", plain)
        assert list(node["by_degree"]) == list(bounds)
        for name, (low, high) in bounds.items():
            chosen = [row for row, degree in zip(rows, asked, strict=True) if low <= degree <= high]
            assert node["by_degree"][name]["answers"] == len(chosen)
            if chosen:
                expect(node["by_degree"][name], chosen, hits)
    assert sum(band["answers"] > 0 for band in tree["by_degree"].values()) >= 3


@pytest.mark.parametrize("similarity", ["dot", "cos"])
def test_retrieval_is_the_brute_force_without_projection(tmp_path: Path, similarity: str) -> None:
    world = make_world("transra", similarity)
    found = run(write(tmp_path, world, 2), world)["anchor_retrieval"]
    rows = reference_ranks(world, "test", plain=True)
    for index, name in enumerate(RELATIONS):
        expect(found["relations"][name]["lhs"], [r for r in rows if r[:2] == (index, "lhs")], "recall")
    assert set(found["pairs"]) == {"user->pin", "pin->user", "user->user", "user->country", "country->user"}
    expect(found["pairs"]["user->pin"], [r for r in rows if r[0] in (0, 1) and r[1] == "rhs"], "recall")
    expect(found["pairs"]["pin->user"], [r for r in rows if r[0] in (0, 1) and r[1] == "lhs"], "recall")
    expect(found["pairs"]["user->user"], [r for r in rows if r[0] == 2], "recall")


def test_with_biases_retrieval_is_of_heads_as_they_are_exported(tmp_path: Path) -> None:
    """Those that training never met ask for what is popular, and only where plain vectors are asked."""
    world = make_world("transra", "dot")
    world.vectors["user"][:, 0] = 1
    paths = write(tmp_path, world, 2)
    plain = run(paths, world)
    world.model = world.model.model_copy(update={"tail_bias": True})
    found = run(paths, world)
    assert found["mrr"] == plain["mrr"]
    met = {(h, t)[e] for h, r, t in world.triples["train"] for e in (0, 1) if ENDS[r][e] == "user"}
    never = np.setdiff1d(np.arange(COUNTS["user"]), list(met))
    assert {head for head, relation, _ in world.triples["test"] if relation < 2} & set(never.tolist())
    world.vectors["user"][never, 1:] = 0
    rows = reference_ranks(world, "test", plain=True)
    for index, name in enumerate(RELATIONS):
        asked = [row for row in rows if row[:2] == (index, "rhs")]
        expect(found["anchor_retrieval"]["relations"][name]["rhs"], asked, "recall")
    assert found["anchor_retrieval"] != plain["anchor_retrieval"]


@pytest.mark.parametrize("similarity", ["cos", "squared_l2"])
def test_partitions_and_tiles_change_nothing(tmp_path: Path, similarity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world("transra_untied", similarity)
    whole = run(write(tmp_path / "1", world, 1), world)
    monkeypatch.setattr("pbg_transra.evaluation.entity_vectors.BLOCK_ROWS", 7)
    assert run(write(tmp_path / "3", world, 3), world) == whole
    monkeypatch.setattr(ranking, "CANDIDATES", 4)
    monkeypatch.setattr(ranking, "QUERIES", 2)
    monkeypatch.setattr("pbg_transra.evaluation.evaluation.CANDIDATES", 4)
    told: list[tuple[str, float]] = []
    assert run(write(tmp_path / "4", world, 4), world, tell=lambda *now: told.append(now)) == whole
    of_users = [fraction for label, fraction in told if label == "link prediction, user as lhs"]
    assert of_users == sorted({*of_users}) and of_users[-1] == 1
    assert len(of_users) > COUNTS["user"] / 4, "a large block is not silent"


def test_equal_vectors_tie_exactly_in_single_precision(tmp_path: Path) -> None:
    world = make_world("transra_untied", "cos")
    rng = np.random.default_rng(0)
    world.vectors = {name: np.tile(rng.normal(size=D), (count, 1)) for name, count in COUNTS.items()}
    world.parameters = [{k: rng.normal(size=v.shape) for k, v in p.items()} for p in world.parameters]
    tree = evaluate(*write(tmp_path, world, 3), world.model, CONFIG, lambda label, fraction: None)
    assert tree["auc"] == tree["anchor_retrieval"]["pairs"]["user->pin"]["auc"] == 0.5


def test_entities_without_training_edge_are_counted(tmp_path: Path) -> None:
    world = make_world("none", "dot")
    seen = {(ENDS[r][e], (h, t)[e]) for h, r, t in world.triples["train"] for e in (0, 1)}
    expected = {name: count - sum(kind == name for kind, _ in seen) for name, count in COUNTS.items()}
    assert run(write(tmp_path, world, 2), world)["entities_without_edges"] == expected


def test_a_sample_of_everything_is_everything_and_a_small_one_is_near(tmp_path: Path) -> None:
    world = make_world("transra", "dot")
    paths = write(tmp_path, world, 2)
    whole, everything = run(paths, world), run(paths, world, EvaluateConfig(candidates=40))
    assert everything["sampled"]["mrr"] == whole["mrr"] and set(everything["sampled"]["flatters"].values()) == {1}
    found = [run(paths, world, EvaluateConfig(candidates=12, seed=seed)) for seed in range(12)]
    aucs = [tree["sampled"]["auc"] for tree in found]
    assert len(set(aucs)) > 1 and np.mean(aucs) == pytest.approx(whole["auc"], abs=0.05)
    assert run(paths, world, EvaluateConfig(candidates=12))["sampled"] == found[0]["sampled"]


def test_the_headline_is_the_full_one_and_says_how_much_the_sampled_one_flatters(tmp_path: Path) -> None:
    world = make_world("transra", "dot")
    paths = write(tmp_path, world, 2)
    whole, beside = run(paths, world), run(paths, world, EvaluateConfig(candidates=5))
    few = beside.pop("sampled")
    assert beside == whole and "sampled" not in whole
    assert few["protocol"].startswith("all 40 test triples, both sides, ranked among 5 entities")
    assert few["flatters"]["mrr"] == few["mrr"] / whole["mrr"] > 1
    assert few["flatters"]["hits@10"] == few["hits@10"] / whole["hits@10"] > 1


def test_the_protocol_says_what_was_done(tmp_path: Path) -> None:
    world = make_world("none", "dot")
    paths = write(tmp_path, world, 1)
    tree = run(paths, world, EvaluateConfig(max_edges=10, candidates=12, split="valid"))
    assert tree["triples"] == 10
    drawn = "10 of 20, drawn with seed 0, valid triples, both sides, ranked among "
    assert tree["protocol"].startswith(drawn + "all entities")
    assert tree["sampled"]["protocol"].startswith(drawn + "12 entities")
    assert all(node["protocol"] == tree["protocol"] for node in tree["relations"].values())
    assert run(paths, world)["protocol"].startswith("all 40 test triples, both sides, ranked among all entities")


def test_validation_mrr_is_that_of_evaluate(tmp_path: Path) -> None:
    world = make_world("transra", "squared_l2")
    paths = write(tmp_path, world, 2)
    expected = run(paths, world, EvaluateConfig(split="valid"))["mrr"]
    assert Validator(paths[0], world.model).measure(paths[1]) == pytest.approx(expected, abs=1e-6)


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    world = make_world("transra", "dot")

    def refused(name: str, message: str, world: World = world) -> None:
        with pytest.raises(DataError, match=message) as caught:
            run(write(tmp_path / name, world, 2), world)
        assert len(str(caught.value).splitlines()) == 1

    def variant(**triples: list[Triple]) -> World:
        return World(world.model, world.vectors, world.parameters, {**world.triples, **triples})

    refused("edgeless", "no entity has a training edge", variant(train=[]))
    operator = ModelConfig(operator="affine", dimension=D, similarity="dot")
    other = World(operator, world.vectors, world.parameters, world.triples)
    refused("operator", "checkpoint of another graph or operator: relation 'click'", other)
    broken = {**world.vectors, "pin": np.where(np.arange(40)[:, None] == 5, np.nan, world.vectors["pin"])}
    refused("nan", "entity type 'pin', id 'pin5'", World(world.model, broken, world.parameters, world.triples))


def test_a_checkpoint_of_another_graph_is_refused(tmp_path: Path) -> None:
    world = make_world("transra", "dot")
    graph, model = write(tmp_path / "a", world, 2)
    with h5py.File(model / "embeddings_pin_1.v1.h5", "r+") as file:
        del file["embeddings"]
        file["embeddings"] = np.zeros((3, D), np.float32)
    with pytest.raises(
        DataError, match="another graph or dimension: type 'pin', partition 1: found 3 vectors of length 4"
    ):
        run((graph, model), world)


def recall_and_ndcg(scores: Vectors, relevant: dict[int, set[int]], seen: dict[int, set[int]], k: int) -> Any:
    """One query at a time over sorted scores (Q, C), as recommenders are judged. Returns recall, NDCG and MRR."""
    discounts = 1 / np.log2(np.arange(2, k + 2))
    found = []
    for query, true in relevant.items():
        order = [item for item in np.argsort(-scores[query]).tolist() if item not in seen.get(query, set())]
        hits = np.isin(order[:k], list(true))
        first = 1 + min(order.index(item) for item in true)
        ideal = discounts[: min(len(true), k)].sum()
        found.append((hits.sum() / len(true), (hits * discounts[: len(hits)]).sum() / ideal, 1 / first))
    return np.mean(found, axis=0)


def by_query(triples: list[Triple], relation: int, end: int) -> dict[int, set[int]]:
    """What each head (end 0) or tail (end 1) of a relation's triples is joined with."""
    found: dict[int, set[int]] = {}
    for triple in triples:
        if triple[1] == relation:
            found.setdefault(triple[2 * end], set()).add(triple[2 - 2 * end])
    return found


@pytest.mark.parametrize("k", [1, 5, 20, 50])
@pytest.mark.parametrize("end", [0, 1])
def test_lists_are_those_of_sorted_scores_without_seen_pairs(tmp_path: Path, end: int, k: int) -> None:
    world = make_world("transra", "dot")
    rng = np.random.default_rng(1)
    world.vectors = {name: rng.normal(size=(count, D)) for name, count in COUNTS.items()}
    seen = set(world.triples["train"])
    world.triples["valid"] = []
    world.triples["test"] = [triple for triple in world.triples["test"] * 2 if triple not in seen]  # pairs count once
    tree = run(write(tmp_path, world, 2), world, EvaluateConfig(retrieval_k=k))["anchor_retrieval"]["per_query"]
    for relation, name in enumerate(RELATIONS):
        query, answer = ENDS[relation][end], ENDS[relation][1 - end]
        scores = world.vectors[query].astype(np.float32) @ world.vectors[answer].astype(np.float32).T
        relevant = by_query(world.triples["test"], relation, end)
        found = tree["relations"][name]["rhs" if end == 0 else "lhs"]
        expected = recall_and_ndcg(scores, relevant, by_query(world.triples["train"], relation, end), k)
        assert found["queries"] == len(relevant)
        assert [found[f"recall@{k}"], found[f"ndcg@{k}"], found["mrr"]] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("edges", [4, 5000])
def test_validation_by_retrieval_asks_anchors_for_tails(tmp_path: Path, edges: int) -> None:
    """A sample holds whole heads; everything at once is what evaluate says of the relation."""
    world = make_world("transra", "dot")
    paths = write(tmp_path, world, 2)
    model = world.model.model_copy(
        update={"validate_by": "retrieval", "validate_every": 1, "validation_edges": edges, "anchors": ("click",)}
    )
    validator = Validator(paths[0], model)
    test = validator._questions.test
    clicks = by_query(world.triples["valid"], 0, 0)
    assert set(test.relation) == {0}
    assert len(test.head) <= edges
    counts = dict(zip(*np.unique(test.head, return_counts=True), strict=True))
    assert all(count in [len(tails) for tails in clicks.values()] for count in counts.values())
    if edges == 5000:
        expected = run(paths, world, EvaluateConfig(split="valid"))["anchor_retrieval"]["per_query"]["relations"]
        assert validator.measure(paths[1]) == pytest.approx(expected["click"]["rhs"]["recall@20"], abs=1e-6)
