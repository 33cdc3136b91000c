"""How a published ranker sees one user and one ad: predictions with and without the graph, and what it attends to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from artifacts.errors import ConfigError
from ranker.config.columns import SlotConfig
from ranker.data.ids.attributes import Attributes
from ranker.data.log.block import LogBlock
from ranker.data.log.newest import Row, newest
from ranker.data.log.parts import Part
from ranker.data.log.where import Where
from ranker.scoring.scorer import Scorer

CONTEXT = "context"  # what the model calls attention over all slots


@dataclass(frozen=True)
class Weight:
    """What was attended to, and the mean weight of the heads; those of one attention sum to 1."""

    name: str
    weight: float


@dataclass(frozen=True)
class Explained:
    """`row` says which impression stood for the pair, `time` when it was: as the log has it, a timestamp in ISO 8601;
    `predictions` have `graph` and `no_graph` for each task."""

    arm: str
    row: str
    time: int | float | str
    predictions: dict[str, dict[str, float]]
    attention: dict[str, list[Weight]]


def explain(
    scorer: Scorer,
    parts: Sequence[Part],
    types: tuple[str, str],
    ids: tuple[str, str],
    attributes: Attributes | None,
    where: Where | None,
) -> Explained | None:
    """Of the entity types and ids of a user and an ad; None where the log `parts` has neither of them.

    The newest impression of both stands for them, or else that of the one with the other's columns of ids in it.
    `attributes` give the slots that the log has no column of, where there are any, and `where` says which rows are
    impressions. Raises ConfigError where the ranker
    has no slot for one of the types, or reads what its log does not have.
    """
    manifest = scorer.manifest
    slots, time = manifest.slots, manifest.time_column
    ends = tuple(_column(slots, side, type) for side, type in zip(("user", "ad"), types, strict=True))
    user, ad = zip(ends, ids, strict=True)
    derived = {} if attributes is None else attributes.rows
    columns = [name for name in scorer.columns if name not in derived]
    found = newest(parts, columns, (time, manifest.time_unit), user, ad, where)
    row, said = _composed(slots, found, user, ad, {column: _type_of(parts, column) for column in ends})
    if row is None:
        return None
    row = row if attributes is None else _joined(attributes, row)
    rows = {name: row[name] for name in scorer.columns}
    with_graph, without = scorer.score(rows), scorer.score(rows, graph=False)
    predictions = {
        task: {"graph": float(with_graph[task][0]), "no_graph": float(without[task][0])} for task in with_graph
    }
    attention = {name: _weights(name, weights[0], row, slots) for name, weights in scorer.attention(rows).items()}
    moment = row[time][0].as_py()
    moment = moment.isoformat() if isinstance(moment, date) else moment
    return Explained(manifest.arm, said, moment, predictions, attention)


def _joined(attributes: Attributes, row: Row) -> Row:
    """The row with its derived columns."""
    stored = {str(attributes.config.slots[name].of) for name in attributes.rows}
    block = LogBlock("the log", 0, pa.table({name: row[name] for name in stored}))
    joined = attributes.joined(block)
    return {**row, **{name: joined.column(name) for name in attributes.rows}}


def _column(slots: Mapping[str, SlotConfig], side: str, type: str) -> str:
    """The log's column of one id of a type on a side."""
    found = [
        name
        for name, slot in slots.items()
        if (slot.side, slot.type) == (side, type) and slot.cap is None and slot.of is None
    ]
    if not found:
        raise ConfigError(f"ranker.slots: no column of one {type} on the {side}'s side")
    return found[0]


def _type_of(parts: Sequence[Part], column: str) -> pa.DataType:
    """Of a column's values, which may all be null in some files."""
    types = (part.types[column] for part in parts)
    return next((type for type in types if not pa.types.is_null(type)), pa.string())


def _composed(
    slots: Mapping[str, SlotConfig],
    found: Sequence[Row | None],
    user: tuple[str, str],
    ad: tuple[str, str],
    types: Mapping[str, pa.DataType],
) -> tuple[Row | None, str]:
    """A row, and what it is. `types` are those of the columns of `user` and `ad`."""
    both, of_user, of_ad = found
    if both is not None:
        return both, "the newest impression of both"
    if of_user is None and of_ad is None:
        return None, ""
    if of_user is None or of_ad is None:
        (column, id), known = (user, of_ad) if of_user is None else (ad, of_user)
        told = f"the newest impression of the other, with {column} = {id}"
        return {**(known or {}), column: _array_of(types[column], column, id)}, told
    taken = {name: of_ad[name] for name, slot in slots.items() if slot.side == "ad" and name in of_ad}
    return {**of_user, **taken}, "the newest impression of the user, with the ids of the ad's newest one"


def _array_of(type: pa.DataType, column: str, id: str) -> pa.Array:
    """An id (1,), given as text, as a column of such a type has it, integers in 64 bits.

    Raises ConfigError where no value of the column is that id.
    """
    kind = type.value_type if pa.types.is_dictionary(type) else type
    try:
        if getattr(kind, "extension_name", "") == "arrow.uuid":
            found = pa.ExtensionArray.from_storage(kind, pa.array([UUID(id).bytes], pa.binary(16)))
        elif pa.types.is_integer(kind):
            found = pa.array([int(id)], pa.int64() if int(id) < 1 << 63 else pa.uint64())
        else:
            found = pa.array([id]).cast(kind)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"the ranker's log has {kind} as {column}, and '{id}' is none") from error
    if LogBlock("the log", 0, pa.table({column: found})).ids(column, found)[0].as_py() != id:
        raise ConfigError(f"the ranker's log has {kind} as {column}, and '{id}' is none")
    return found


def _weights(name: str, weights: Any, row: Row, slots: Mapping[str, SlotConfig]) -> list[Weight]:
    """The greatest first; of (H, N) weights, mean over the heads."""
    mean = np.asarray(weights, np.float64).mean(axis=0)
    if name == CONTEXT:
        known = [slot for slot, config in slots.items() if config.type is not None]
        names = sorted(known, key=lambda slot: slots[slot].cap is not None)  # single ids first, then lists
    else:
        names = ["(none of them)", *map(str, (row[name][0].as_py() or [])[: slots[name].cap])]
    pairs = [Weight(one, float(weight)) for one, weight in zip(names, mean[: len(names)], strict=True)]
    return sorted(pairs, key=lambda one: -one.weight)
