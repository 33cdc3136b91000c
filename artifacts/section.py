"""The base of every config section: frozen, typed, unknown keys refused."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, ClassVar, NamedTuple, get_args

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
            types = _leaves(field.annotation)
            if types & {int, float} and bool not in types and _NUMBERS not in field.metadata:
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


def _leaves(annotation: Any) -> set[Any]:
    """The types that a union or a container is made of."""
    inner = get_args(annotation)
    return set().union(*map(_leaves, inner)) if inner else {annotation} if isinstance(annotation, type) else set()


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
