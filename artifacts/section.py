"""The base of every config section: frozen, typed, unknown keys refused."""

from collections.abc import Iterator
from difflib import get_close_matches
from types import UnionType
from typing import Any, ClassVar, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Problem(NamedTuple):
    """Something wrong with a config value: its path below the section, and what was expected."""

    path: tuple[str | int, ...]
    message: str


class Section(BaseModel):
    """A part of the run config. Each stage keeps its own beside its code.

    A section that must check its values against each other overrides `problems`, which reports all of them.
    """

    without_effect: ClassVar[frozenset[str]] = frozenset()  # keys that change how fast the output comes, not what it is

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Numbers alone get a validator: behind one, JSON's lists and objects are no tuples and sections any more."""
        super().__pydantic_init_subclass__(**kwargs)
        for field in cls.model_fields.values():
            if _holds_numbers(field.annotation) and _NUMBERS not in field.metadata:
                field.metadata.append(_NUMBERS)
        cls.model_rebuild(force=True)

    def problems(self) -> Iterator[Problem]:
        """Yields what the types alone cannot say."""
        yield from ()


def did_you_mean(word: str, known: list[str]) -> str:
    """Returns ", did you mean 'x'?" for the nearest known word, or the known words when none is near."""
    if near := get_close_matches(word, known, n=1):
        return f", did you mean '{near[0]}'?"
    return f" (known: {', '.join(sorted(known))})" if known else ""


def _holds_numbers(annotation: Any) -> bool:
    """Whether somewhere in a type a number belongs where neither text nor true and false may stand."""
    inner = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType) and {str, bool} & {*inner}:
        return False
    return annotation in (int, float) or any(map(_holds_numbers, inner))


def _leaf_values(value: Any) -> Iterator[Any]:
    """What lists and objects hold."""
    if isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaf_values(each)
    else:
        yield value


def _number(value: Any) -> Any:
    """Refuses true where a number belongs: it would be 1, and `gate: { mrr: true }` a gate that rejects nothing."""
    if any(isinstance(each, bool) for each in _leaf_values(value)):
        raise ValueError("expected a number, not true or false")
    return value


_NUMBERS = BeforeValidator(_number)
