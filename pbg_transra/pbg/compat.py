"""Patches of torchbiggraph 1.0.0: how it reads configs, and what it takes from a pickle.

`tests/pbg_transra/pbg/test_compat.py` has a test for each trap of that release that training on one machine meets.
"""

import io
from typing import Any, Optional

import torch
import torchbiggraph.checkpoint_manager
import torchbiggraph.schema

# Workers import torchbiggraph before anything of ours could filter what it warns about.
QUIET_IMPORT = "ignore:pkg_resources is deprecated,ignore:TypedStorage is deprecated"


def unpack_optional(type_: Any) -> Any:
    """Returns x of Optional[x]. Raises TypeError for other types.

    PBG compares by identity, which holds only while `typing` has Optional[x] in its cache of 128; a process that
    imports pydantic or pandas fills it, and then PBG neither reads nor writes a config.
    """
    arguments = getattr(type_, "__args__", ())
    if not arguments or type_ != Optional[arguments[0]]:  # noqa: UP045  the type itself, not an annotation
        raise TypeError("Not an optional type")
    return arguments[0]


torchbiggraph.schema.unpack_optional = unpack_optional  # for good: configs are read and written at any time


def deserialize_optim_state(serialized: bytes | None) -> dict[str, Any] | None:
    """Returns an optimiser's state. Raises UnpicklingError for a pickle that is more than tensors.

    PBG leaves it to an environment variable whether such a pickle may execute what it likes.
    """
    if serialized is None:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(serialized), weights_only=True)
    return state


torchbiggraph.checkpoint_manager.deserialize_optim_state = deserialize_optim_state
