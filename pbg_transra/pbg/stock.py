"""Checkpoints of stock PyTorch-BigGraph: read key by key, since PBG's own loading drops what it does not know.

Also what PBG's training loop reads of a checkpoint that holds first values only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torchbiggraph.checkpoint_manager import CheckpointManager
from torchbiggraph.config import ConfigSchema
from torchbiggraph.model import OPERATORS
from torchbiggraph.util import CouldNotLoadData

import pbg_transra.pbg.compat  # noqa: F401  PBG reads configs through it
from artifacts.errors import DataError
from artifacts.files.hdf5 import BROKEN
from artifacts.files.json_file import read_json
from artifacts.files.regular import open_regular
from artifacts.machine.exhausted import first_line
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.checkpoint_format import PREFIX, key_of, write_partition, write_relations
from pbg_transra.pbg.committed import committed_files
from pbg_transra.pbg.replaced import replaced

OPERATOR_NAMES = ("none", "diagonal", "translation", "linear", "affine", "complex_diagonal")
UNSUPPORTED: dict[str, Any] = {"bias": False, "dynamic_relations": False, "max_norm": None}
START = 0  # the version that a training reads when nothing is committed yet


@dataclass(frozen=True)
class StockModel:
    """The part of a checkpoint that is not a table: parameters by PBG's key, and their Adagrad sums where saved."""

    config: ConfigSchema
    parameters: dict[str, Tensor]
    sums: dict[str, Tensor]


def read_model(directory: Path) -> StockModel:
    path = directory / "config.json"
    for file in committed_files(directory):
        open_regular(file, "a file of a checkpoint").close()
    try:
        config = ConfigSchema.from_dict(read_json(path, dict[str, Any], "the config that PBG keeps with a checkpoint"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: expected the config that PBG keeps with a checkpoint ({error})") from error
    if strange := [relation.operator for relation in config.relations if relation.operator not in OPERATOR_NAMES]:
        raise DataError(f"{path}: operator '{strange[0]}' is not one of stock PBG's ({', '.join(OPERATOR_NAMES)})")
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
    return StockModel(config, parameters or {}, _sums_by_key(directory, expected, optimizer))


def _expected_shapes(config: ConfigSchema) -> dict[str, tuple[int, ...]]:
    """Returns what PBG must have saved for this config, in the order in which its optimiser numbers parameters."""
    shapes = {
        f"{PREFIX}.{index}.{name}": tuple(parameter.shape)
        for index, relation in enumerate(config.relations)
        for name, parameter in OPERATORS.get_class(relation.operator)(config.dimension).named_parameters()
    }
    if config.global_emb:
        shapes |= {global_key(name): (config.dimension,) for name in config.entities}
    return shapes


def global_key(entity_type: str) -> str:
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


def read_table(directory: Path, entity_type: str, partition: int) -> tuple[Tensor, Tensor | None]:
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


def require_same_model(directory: Path, config: ConfigSchema, model: ModelConfig) -> None:
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


def parameter_names(operator: str, dimension: int) -> list[str]:
    """Names of the parameters of one of PBG's operators."""
    return [name for name, _ in OPERATORS.get_class(operator)(dimension).named_parameters()]


class StartWriter:
    """Writes version 0 of a checkpoint into a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def partition(self, entity: str, partition: int, vectors: Tensor, sums: Tensor | None, lr: float) -> None:
        """Vectors (n, D) and row sums of Adagrad (n,), zero by default."""
        kept = torch.zeros(len(vectors), dtype=vectors.dtype) if sums is None else sums
        with replaced(self._directory / f"embeddings_{entity}_{partition}.v{START}.h5", {}) as file:
            write_partition(file, vectors, kept, lr)

    def relations(self, parameters: Mapping[str, Tensor], sums: list[Tensor], lr: float) -> None:
        """Parameters by the model's name, and their sums in the same order."""
        with replaced(self._directory / f"model.v{START}.h5", {}) as file:
            write_relations(file, {key_of(name): values for name, values in parameters.items()}, sums, lr)
