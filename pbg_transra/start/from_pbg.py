"""Training that starts from a checkpoint of stock PyTorch-BigGraph (`model.start_from`).

PBG scores s(h, f(t)): its operator f acts on the right side alone. Ours scores scale * s(L h + r, R t), and becomes

    PBG         scores     transra_anchor (L = R = I)     transra_untied              transra (L = R = M)
    none        s(h, t)    r = 0          exact           r = 0            exact      r = 0           exact
    translation s(h, t+v)  r = -v         exact [1]       r = -v           exact [1]  r = -v          exact [1]
    linear      s(h, A t)  refused                        R = A            exact      M = A           a start only
    affine      s(h, At+b) refused                        R = A, r = -b    exact [1]  M = A, r = -b   a start only

[1] under l2 and squared_l2, where s(h, x + v) = s(h - v, x). Under cos the same values are a start only. Under dot
r = 0 is one: h.(x + v) = h.x + h.v ranks tails like h.x, and no r gives h.v. An operator of PBG's own
(`model.operator: affine`) takes its parameters over as they are. PBG's vector per entity type (`global_emb`, on by
default) is added to the entities of that type, which changes no score. Row sums and operators' sums of Adagrad come
along.

What is written is version 0 of our checkpoint, where PBG's training loop looks for a first value.
"""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from artifacts.errors import DataError
from artifacts.files.json_file import read_json
from artifacts.formats.graph import EntityType, Graph, Relation, ids_path, load_graph
from pbg_transra.config import ModelConfig
from pbg_transra.known import keep_known
from pbg_transra.pbg.checkpoint import Checkpoint, require_finite
from pbg_transra.pbg.checkpoint_format import PREFIX
from pbg_transra.pbg.embedder import TransRAEmbedder, make_embedder
from pbg_transra.pbg.operators import operator_name
from pbg_transra.pbg.stock import (
    StartWriter,
    StockModel,
    global_key,
    parameter_names,
    read_model,
    read_table,
    require_same_model,
)
from pbg_transra.reports import Adoption

DISTANCES = ("l2", "squared_l2")
MATRIX, VECTOR = "linear_transformation", "translation"  # PBG's names
# By PBG's operator and ours: our parameters and where each comes from. What is not named starts as in a new model.
SOURCES: dict[tuple[str, str], dict[str, str]] = {
    ("none", "transra_anchor"): {},
    ("none", "transra"): {},
    ("none", "transra_untied"): {},
    ("translation", "transra_anchor"): {"translation": VECTOR},
    ("translation", "transra"): {"translation": VECTOR},
    ("translation", "transra_untied"): {"translation": VECTOR},
    ("linear", "transra"): {"projection": MATRIX},
    ("linear", "transra_untied"): {"right_projection": MATRIX},
    ("affine", "transra"): {"projection": MATRIX, "translation": VECTOR},
    ("affine", "transra_untied"): {"right_projection": MATRIX, "translation": VECTOR},
}


def check_start(directory: Path, graph_dir: Path, model: ModelConfig) -> Adoption:
    """Returns what the checkpoint of stock PBG in `directory` is worth; reads no table.

    Raises DataError when it is of another graph, dimension or similarity, when it has what our model cannot express,
    and for any key that is missing or unknown (PBG's own loading drops those silently).
    """
    graph, checkpoint = load_graph(graph_dir), Checkpoint(directory)
    checkpoint.require_fits(graph, model.dimension)
    found = read_model(directory)
    require_same_model(directory, found.config, model)
    relations = list(zip(graph.relations, found.config.relations, strict=True))
    exact = {relation.name: _is_exact(directory, relation, schema.operator, model) for relation, schema in relations}
    compared = [
        _require_same_ids(directory, Path(found.config.entity_path), graph_dir, kind, partition)
        for kind in graph.entity_types
        for partition in range(kind.partitions)
    ]
    names = tuple(name for name, is_exact in exact.items() if is_exact)
    return Adoption(names, tuple(name for name in exact if name not in names), all(compared))


def adopt_checkpoint(directory: Path, graph_dir: Path, model: ModelConfig, destination: Path) -> Adoption:
    """Writes the checkpoint of stock PBG in `directory` as version 0 of ours into `destination`.

    One partition is in memory at a time. Raises DataError as `check_start` does, and for a NaN.
    """
    adoption = check_start(directory, graph_dir, model)
    graph, found, writer = load_graph(graph_dir), read_model(directory), StartWriter(destination)
    for kind in graph.entity_types:
        for partition in range(kind.partitions):
            vectors, sums = read_table(directory, kind.name, partition)
            require_finite(vectors.numpy(), graph_dir, kind, partition, 0)
            if found.config.global_emb:
                vectors += found.parameters[global_key(kind.name)]
            writer.partition(kind.name, partition, vectors, sums, model.lr)
            keep_known(destination, kind.name, partition, np.ones(len(vectors), bool))
    embedder, kept = _adopted_embedder(graph, model, found)
    parameters = {name: values.detach() for name, values in embedder.named_parameters()}
    writer.relations(
        parameters, [kept.get(name, torch.zeros_like(v)) for name, v in parameters.items()], model.relation_lr
    )
    return adoption


def _is_exact(directory: Path, relation: Relation, source: str, model: ModelConfig) -> bool:
    """Whether the relation will score as it did in PBG. Raises DataError where nothing can be taken over."""
    target = operator_name(model, relation)
    if source == target:
        return True
    if (source, target) not in SOURCES:
        raise DataError(f"{directory}: relation '{relation.name}': PBG's operator '{source}' cannot become '{target}'")
    if VECTOR in SOURCES[source, target].values() and not _translated(relation, model):
        return False
    if target == "transra" and MATRIX in SOURCES[source, target].values():
        return False
    return model.similarity in DISTANCES or VECTOR not in SOURCES[source, target].values()


def _translated(relation: Relation, model: ModelConfig) -> bool:
    """Whether our relation has a translation of its own to learn."""
    return model.anchor_translation or relation.name not in model.anchors


def _require_same_ids(directory: Path, entity_path: Path, graph_dir: Path, kind: EntityType, partition: int) -> bool:
    """Compares the ids of a partition where PBG's entity path still has them; tells whether it has."""
    theirs = _ids_at(entity_path, kind.name, partition)
    if theirs is None:
        return False
    ours = _ids_at(graph_dir, kind.name, partition) or []
    for offset, (one, other) in enumerate(zip_longest(theirs, ours)):
        if one != other:
            raise DataError(
                f"{directory}: checkpoint of another graph: type '{kind.name}', partition {partition}, offset {offset} "
                f"is {one!r} in {entity_path}, expected {other!r}"
            )
    return True


def _ids_at(directory: Path, entity_type: str, partition: int) -> list[str] | None:
    parquet, names = ids_path(directory, entity_type, partition), f"entity_names_{entity_type}_{partition}.json"
    if parquet.exists():
        ids: list[str] = pq.read_table(parquet, columns=["id"])["id"].to_pylist()
        return ids
    if (directory / names).exists():
        return [str(name) for name in read_json(directory / names, list[Any], "names of entities")]
    return None


def _adopted_embedder(graph: Graph, model: ModelConfig, found: StockModel) -> tuple[TransRAEmbedder, dict[str, Tensor]]:
    """Returns our model with PBG's values in it, and the sums of its parameters by name, in our shapes."""
    embedder, sums = make_embedder(graph, model), {}
    parameters = dict(embedder.named_parameters())
    for ours, theirs, sign in _renamed(graph, model, [schema.operator for schema in found.config.relations]):
        parameter = parameters[ours]
        parameter.data.copy_(sign * found.parameters[theirs].view(parameter.shape))
        if theirs in found.sums:
            sums[ours] = found.sums[theirs].view(parameter.shape)
    return embedder, sums


def _renamed(graph: Graph, model: ModelConfig, sources: list[str]) -> Iterator[tuple[str, str, int]]:
    """Yields our key, PBG's key, and the sign that its value changes by."""
    for index, (relation, source) in enumerate(zip(graph.relations, sources, strict=True)):
        target, prefix = operator_name(model, relation), f"{PREFIX}.{index}."
        if source == target:
            yield from ((prefix + name, prefix + name, 1) for name in parameter_names(source, model.dimension))
            continue
        for ours, theirs in SOURCES[source, target].items():
            if theirs == MATRIX:
                yield prefix + ours, prefix + theirs, 1
            elif model.similarity != "dot" and _translated(relation, model):
                yield prefix + ours, prefix + theirs, -1
