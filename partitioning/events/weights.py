"""Weights of events in whole units, so that their sum does not depend on the order of addition."""

import time
from collections.abc import Iterable, Mapping

from artifacts.errors import DataError
from artifacts.expressions.engine import Engine
from artifacts.moment import epoch_seconds, iso
from partitioning.config.sections import GraphConfig, RelationConfig
from partitioning.sources.table import Source

UNIT = 1 << 24  # units of weight 1: decayed weights keep the precision of a float32
LEAST_UNITS = 1  # of an event
INVALID = -1
MOST_UNITS = 1 << 62  # of an event and of a sum: two of them still fit 64 bits
MOST = MOST_UNITS // UNIT
_DAY = 86_400


def weight_units(relation: RelationConfig, source: Source, reference: int | None) -> str:
    """SQL of an event's weight in units, INVALID where it is not a positive number, or more than MOST.

    With a half-life the weight is 2^-(age / half-life), of the age at `reference` (epoch seconds); younger events
    count in full.
    """
    if relation.weight is None:
        return str(UNIT)
    weight = f"CAST(({relation.weight}) AS DOUBLE)"
    decay = ""
    if relation.half_life_days is not None and reference is not None:
        decay = f" * pow(2.0, -greatest({reference} - {source.time}, 0) / {relation.half_life_days * _DAY})"
    units = f"greatest(CAST(round({weight}{decay} * {UNIT}) AS BIGINT), {LEAST_UNITS})"
    return f"CASE WHEN {weight} > 0 AND {weight} <= {MOST} THEN {units} ELSE {INVALID} END"


def reference_time(engine: Engine, config: GraphConfig, sources: Mapping[str, Source]) -> int | None:
    """Epoch seconds at which ages are taken: the end of training, or without a split by time the latest event."""
    if config.split.time:
        return epoch_seconds(config.split.time.valid_from)
    return latest_moment(
        engine.row(latest_sql(relation, source))[0]
        for relation in config.relations
        if relation.half_life_days
        for source in (sources[name] for name in relation.sources if name in sources)
    )


def latest_sql(relation: RelationConfig, source: Source) -> str:
    """A query of the epoch seconds of a relation's latest event in a source."""
    return f"SELECT max({source.time}) FROM {source.table} WHERE {relation.where or 'true'}"


def latest_moment(latest: Iterable[int | None]) -> int | None:
    """The last of the latest events, epoch seconds. Raises DataError for one that lies in the future."""
    reference = max((moment for moment in latest if moment is not None), default=None)
    if reference is not None and reference > time.time() + _DAY:
        raise DataError(
            f"graph.relations: ages for half_life_days are counted from the latest event, which is of {iso(reference)} "
            "and lies in the future; leave it out with where, or set graph.split.time"
        )
    return reference


def invalid_weight(relation: RelationConfig) -> str:
    """SQL condition of the rows whose weight is not a positive number, or more than MOST."""
    weight = f"CAST(({relation.weight}) AS DOUBLE)"
    return f"({weight} IS NULL OR NOT ({weight} > 0 AND {weight} <= {MOST}))"
