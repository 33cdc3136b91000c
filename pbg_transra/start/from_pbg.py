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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torchbiggraph.checkpoint_manager import (
    CheckpointManager,
    model_state_dict_private_to_public,
    serialize_optim_state,
)
from torchbiggraph.checkpoint_storage import save_embeddings, save_model_state_dict, save_optimizer_state_dict
from torchbiggraph.config import ConfigSchema
from torchbiggraph.model import OPERATORS
from torchbiggraph.util import CouldNotLoadData

import pbg_transra.pbg.compat  # noqa: F401  PBG reads configs through it
from artifacts.errors import DataError
from artifacts.exhausted import first_line
from artifacts.graph import EntityType, Graph, Relation, ids_path, load_graph
from artifacts.hdf5 import BROKEN
from artifacts.json_file import read_json
from artifacts.regular import open_regular
from pbg_transra.backends.adagrad import HogwildAdagrad, HogwildRowAdagrad
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.checkpoint import Checkpoint, require_finite
from pbg_transra.pbg.committed import committed_files
from pbg_transra.pbg.embedder import TransRAEmbedder, make_embedder
from pbg_transra.pbg.operators import operator_name
from pbg_transra.pbg.replaced import replaced

START = 0  # the version
STOCK = ("none", "diagonal", "translation", "linear", "affine", "complex_diagonal")
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
UNSUPPORTED: dict[str, Any] = {"bias": False, "dynamic_relations": False, "max_norm": None}


@dataclass(frozen=True)
class Adoption:
    """What a start is worth: relations whose scores are PBG's (times `model.scale`), and those that only start near.

    `ids_compared` tells whether the names of the entities were there to be compared; counts always are.
    """

    exact: tuple[str, ...]
    start_only: tuple[str, ...]
    ids_compared: bool

    def told(self) -> str:
        """One line for a person."""
        ids = "ids compared" if self.ids_compared else "only counts of entities compared, as it has no names"
        near = f"; only a start, other scores: {', '.join(self.start_only)}" if self.start_only else ""
        return f"{ids}; scores kept: {', '.join(self.exact) or 'none'}{near}"


@dataclass(frozen=True)
class PbgModel:
    """The part of a checkpoint that is not a table: parameters by PBG's key, and their Adagrad sums where saved."""

    config: ConfigSchema
    parameters: dict[str, Tensor]
    sums: dict[str, Tensor]


def check_start(directory: Path, graph_dir: Path, model: ModelConfig) -> Adoption:
    """Returns what the checkpoint of stock PBG in `directory` is worth; reads no table.

    Raises DataError when it is of another graph, dimension or similarity, when it has what our model cannot express,
    and for any key that is missing or unknown (PBG's own loading drops those silently).
    """
    graph, checkpoint = load_graph(graph_dir), Checkpoint(directory)
    checkpoint.require_fits(graph, model.dimension)
    found = _read_model(directory)
    _require_same_model(directory, found.config, model)
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
    graph, found = load_graph(graph_dir), _read_model(directory)
    destination.mkdir(parents=True, exist_ok=True)
    for kind in graph.entity_types:
        for partition in range(kind.partitions):
            vectors, sums = _read_table(directory, kind.name, partition)
            require_finite(vectors.numpy(), graph_dir, kind, partition, 0)
            if found.config.global_emb:
                vectors += found.parameters[_global_key(kind.name)]
            rows = HogwildRowAdagrad([nn.Parameter(vectors)], model.lr)
            if sums is not None:
                _set_sums_(rows, [sums])
            state = serialize_optim_state(rows.state_dict())
            with replaced(destination / f"embeddings_{kind.name}_{partition}.v{START}.h5", {}) as file:
                save_embeddings(file, vectors)
                save_optimizer_state_dict(file, state)
    _save_operators(destination, graph, model, found)
    return adoption


def _read_model(directory: Path) -> PbgModel:
    path = directory / "config.json"
    for file in committed_files(directory):
        open_regular(file, "a file of a checkpoint").close()
    try:
        config = ConfigSchema.from_dict(read_json(path, dict[str, Any], "the config that PBG keeps with a checkpoint"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: expected the config that PBG keeps with a checkpoint ({error})") from error
    if strange := [relation.operator for relation in config.relations if relation.operator not in STOCK]:
        raise DataError(f"{path}: operator '{strange[0]}' is not one of stock PBG's ({', '.join(STOCK)})")
    try:
        parameters, optimizer = CheckpointManager(str(directory)).read_model()
    except (CouldNotLoadData, *BROKEN, UnpicklingError) as error:
        raise DataError(f"{directory}: its model cannot be read ({first_line(error) or 'no such file'})") from error
    expected = _expected_shapes(config)
    for key in sorted(expected.keys() | (parameters or {}).keys()):
        wanted, had = expected.get(key), (parameters or {}).get(key)
        shape = None if had is None else tuple(had.shape)
        if shape != wanted:
            raise DataError(f"{directory}: key '{key}': found {shape or 'nothing'}, expected {wanted or 'no such key'}")
        if had is not None and not had.isfinite().all():
            raise DataError(f"{directory}: key '{key}' holds a NaN or an infinity")
    return PbgModel(config, parameters or {}, _sums_by_key(directory, expected, optimizer))


def _expected_shapes(config: ConfigSchema) -> dict[str, tuple[int, ...]]:
    """Returns what PBG must have saved for this config, in the order in which its optimiser numbers parameters."""
    shapes = {
        f"rhs_operators.{index}.{name}": tuple(parameter.shape)
        for index, relation in enumerate(config.relations)
        for name, parameter in OPERATORS.get_class(relation.operator)(config.dimension).named_parameters()
    }
    if config.global_emb:
        shapes |= {_global_key(name): (config.dimension,) for name in config.entities}
    return shapes


def _global_key(entity_type: str) -> str:
    return f"global_embs.emb_{entity_type}"


def _sums_by_key(
    directory: Path, shapes: Mapping[str, tuple[int, ...]], optimizer: dict[str, Any] | None
) -> dict[str, Tensor]:
    if not optimizer or not optimizer.get("state"):
        return {}
    sums = {key: optimizer["state"].get(index, {}).get("sum") for index, key in enumerate(shapes)}
    for key, values in sums.items():
        if values is None or tuple(values.shape) != shapes[key]:
            raise DataError(f"{directory}: the optimiser's state of '{key}' is missing or of another shape")
    return sums


def _read_table(directory: Path, entity_type: str, partition: int) -> tuple[Tensor, Tensor | None]:
    """Returns the vectors of a partition (N, D) and their sums (N,), where saved."""
    try:
        vectors, optimizer = CheckpointManager(str(directory)).read(entity_type, partition)
    except (CouldNotLoadData, *BROKEN, UnpicklingError) as error:
        what = f"type '{entity_type}', partition {partition}"
        raise DataError(f"{directory}: {what} cannot be read ({first_line(error)})") from error
    sums = (optimizer or {}).get("state", {}).get(0, {}).get("sum")
    if sums is not None and tuple(sums.shape) != (len(vectors),):
        raise DataError(f"{directory}: type '{entity_type}', partition {partition}: row sums of another shape")
    return vectors, sums


def _require_same_model(directory: Path, config: ConfigSchema, model: ModelConfig) -> None:
    problems = [
        f"{directory}: trained with {key} {getattr(config, key)}, which our model does not have"
        for key, plain in UNSUPPORTED.items()
        if getattr(config, key) != plain
    ]
    problems += [
        f"{directory}: entity type '{name}' is featurized, which our model does not have"
        for name, schema in config.entities.items()
        if schema.featurized
    ]
    if config.comparator != model.similarity:
        problems.append(
            f"{directory}: trained with comparator '{config.comparator}', model.similarity is '{model.similarity}'"
        )
    if problems:
        raise DataError(*problems)


def _is_exact(directory: Path, relation: Relation, source: str, model: ModelConfig) -> bool:
    """Whether the relation will score as it did in PBG. Raises DataError where nothing can be taken over."""
    target = operator_name(model, relation)
    if source == target:
        return True
    if (source, target) not in SOURCES:
        raise DataError(f"{directory}: relation '{relation.name}': PBG's operator '{source}' cannot become '{target}'")
    if target == "transra" and MATRIX in SOURCES[source, target].values():
        return False
    return model.similarity in DISTANCES or VECTOR not in SOURCES[source, target].values()


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


def _adopted_embedder(graph: Graph, model: ModelConfig, found: PbgModel) -> tuple[TransRAEmbedder, dict[str, Tensor]]:
    """Returns our model with PBG's values in it, and the sums of its parameters by name, in our shapes."""
    embedder, sums = make_embedder(graph, model), {}
    parameters = dict(embedder.named_parameters())
    for ours, theirs, sign in _renamed(graph, model, found.config):
        parameter = parameters[ours]
        parameter.data.copy_(sign * found.parameters[theirs].view(parameter.shape))
        if theirs in found.sums:
            sums[ours] = found.sums[theirs].view(parameter.shape)
    return embedder, sums


def _save_operators(destination: Path, graph: Graph, model: ModelConfig, found: PbgModel) -> None:
    embedder, sums = _adopted_embedder(graph, model, found)
    parameters, state = dict(embedder.named_parameters()), None
    if parameters:  # operator `none` has none, and torch makes no optimiser of nothing
        optimizer = HogwildAdagrad(parameters.values(), model.relation_lr)
        _set_sums_(optimizer, [sums.get(name, torch.zeros_like(values)) for name, values in parameters.items()])
        state = serialize_optim_state(optimizer.state_dict())
    public = model_state_dict_private_to_public({name: values.detach() for name, values in parameters.items()})
    with replaced(destination / f"model.v{START}.h5", {}) as file:
        save_model_state_dict(file, public)
        save_optimizer_state_dict(file, state)


def _renamed(graph: Graph, model: ModelConfig, config: ConfigSchema) -> Iterator[tuple[str, str, int]]:
    """Yields our key, PBG's key, and the sign that its value changes by."""
    for index, (relation, schema) in enumerate(zip(graph.relations, config.relations, strict=True)):
        source, target, prefix = schema.operator, operator_name(model, relation), f"rhs_operators.{index}."
        if source == target:
            names = dict(OPERATORS.get_class(source)(model.dimension).named_parameters())
            yield from ((prefix + name, prefix + name, 1) for name in names)
            continue
        for ours, theirs in SOURCES[source, target].items():
            if theirs == MATRIX:
                yield prefix + ours, prefix + theirs, 1
            elif model.similarity != "dot":
                yield prefix + ours, prefix + theirs, -1


def _set_sums_(optimizer: torch.optim.Optimizer, sums: list[Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for parameter, values in zip(parameters, sums, strict=True):
        optimizer.state[parameter]["sum"].copy_(values)
