"""What an operator makes of the vectors on its two sides."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear
from torchbiggraph.model import OPERATORS, AbstractOperator, AffineOperator, LinearOperator

from pbg_transra.pbg.operators import TwoSidedOperator

View = Callable[[Tensor], Tensor]


class OtherOperator(Exception):
    """Parameters of another operator: what this one expects, by name and shape."""


def operator_views(
    name: str, dimension: int, parameters: Mapping[str, NDArray[Any]], dtype: torch.dtype
) -> tuple[View | None, View]:
    """The left view, which PBG's own operators do not have, and the right one: (B, D) -> (B, D) each.

    Raises OtherOperator where names or shapes of the parameters are not those of the operator.
    """
    operator = OPERATORS.get_class(name)(dimension)
    try:
        operator.load_state_dict({key: torch.from_numpy(values) for key, values in parameters.items()})
    except RuntimeError as error:
        expected = {key: tuple(values.shape) for key, values in operator.state_dict().items()}
        raise OtherOperator(str(expected)) from error
    operator.requires_grad_(False).to(dtype)
    return operator.left if isinstance(operator, TwoSidedOperator) else None, _right(operator)


def _right(operator: AbstractOperator) -> View:
    if isinstance(operator, (LinearOperator, AffineOperator)):
        # PBG multiplies vector by vector; the same as one matrix product takes a thirtieth of the time
        return partial(linear, weight=operator.linear_transformation, bias=getattr(operator, "translation", None))
    return operator
