"""Files of a checkpoint as PyTorch-BigGraph's own programs read and write them.

PBG numbers the parameters of an optimiser in the order of the model's and keeps its state pickled. It names a parameter
of a relation `rhs_operators.<index>.<name>` in the model, and `/model/relations/<index>/operator/rhs/<name>` in a file.
"""

from collections.abc import Mapping
from typing import Any

import h5py
from torch import Tensor
from torchbiggraph.checkpoint_manager import (
    model_state_dict_private_to_public,
    model_state_dict_public_to_private,
    serialize_optim_state,
)
from torchbiggraph.checkpoint_storage import (
    EMBEDDING_DATASET,
    load_model_state_dict,
    load_optimizer_state_dict,
    save_embeddings,
    save_model_state_dict,
    save_optimizer_state_dict,
)

from artifacts.files.hdf5 import dataset_in
from pbg_transra.pbg.compat import deserialize_optim_state

Key = tuple[int, str]  # a relation's index, and the name of a parameter of its operator

PREFIX = "rhs_operators"


def vectors_in(file: h5py.File) -> h5py.Dataset:
    """The vectors (n, D) of a partition's file. Raises ValueError for anything else."""
    return dataset_in(file, EMBEDDING_DATASET, "float32")


def read_row_sums(file: h5py.File) -> Tensor | None:
    """Row sums of Adagrad (n,) of a partition's file, where they were kept."""
    state = deserialize_optim_state(load_optimizer_state_dict(file))
    return state["state"][0]["sum"] if state else None


def write_partition(file: h5py.File, vectors: Tensor, sums: Tensor, lr: float) -> None:
    """Vectors (n, D) and row sums (n,); `lr` is there because PBG keeps it."""
    save_embeddings(file, vectors)
    save_optimizer_state_dict(file, serialize_optim_state(optimizer_state([sums.clone()], lr)))


def read_relations(file: h5py.File) -> tuple[dict[Key, Tensor], list[Tensor] | None]:
    """Parameters of relations by key, and their Adagrad sums in the model's order, where they were kept."""
    parameters = model_state_dict_public_to_private(load_model_state_dict(file))
    state = deserialize_optim_state(load_optimizer_state_dict(file))
    sums = [each["sum"] for each in state["state"].values()] if state else None
    return {key_of(name): values for name, values in (parameters or {}).items()}, sums


def write_relations(file: h5py.File, parameters: Mapping[Key, Tensor], sums: list[Tensor], lr: float) -> None:
    """Parameters and sums in the model's order."""
    names = {f"{PREFIX}.{index}.{name}": values for (index, name), values in parameters.items()}
    save_model_state_dict(file, model_state_dict_private_to_public(names))
    save_optimizer_state_dict(file, serialize_optim_state(optimizer_state(sums, lr)))


def optimizer_state(sums: list[Tensor], lr: float) -> dict[str, Any]:
    """What torch's optimisers call their state."""
    groups = [{"lr": lr, "params": list(range(len(sums)))}]
    return {"state": {number: {"sum": total} for number, total in enumerate(sums)}, "param_groups": groups}


def key_of(name: str) -> Key:
    """Raises ValueError for a name of the model that is no parameter of a relation's right operator."""
    prefix, index, parameter = name.split(".", 2)
    if prefix != PREFIX:
        raise ValueError(f"parameter '{name}': expected {PREFIX}.<index>.<name>")
    return int(index), parameter
