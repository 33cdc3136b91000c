"""Weights of events in whole units, so that their sum does not depend on the order of addition."""

from collections.abc import Mapping

from artifacts.moment import epoch_seconds
from partitioning.config.sections import GraphConfig, RelationConfig
from partitioning.sources.engine import Engine
from partitioning.sources.table import Source

UNIT = 1 << 24  # units of weight 1: decayed weights keep the precision of a float32
INVALID = -1
_DAY = 86_400


def weight_units(relation: RelationConfig, source: Source, reference: int | None) -> str:
    """SQL of an event's weight in units, INVALID where it is not a positive number.

    With a half-life the weight is 2^-(age / half-life), of the age at `reference` (epoch seconds); younger events
    count in full.
    """
    if relation.weight is None:
        return str(UNIT)
    weight = f"CAST(({relation.weight}) AS DOUBLE)"
    decay = ""
    if relation.half_life_days is not None and reference is not None:
        decay = f" * pow(2.0, -greatest({reference} - {source.time}, 0) / {relation.half_life_days * _DAY})"
    units = f"greatest(CAST(round({weight}{decay} * {UNIT}) AS BIGINT), 1)"
    return f"CASE WHEN {weight} > 0 AND isfinite({weight}) THEN {units} ELSE {INVALID} END"


def reference_time(engine: Engine, config: GraphConfig, sources: Mapping[str, Source]) -> int | None:
    """Epoch seconds at which ages are taken: the end of training, or without a split by time the latest event."""
    if config.split.time:
        return epoch_seconds(config.split.time.valid_from)
    latest = [
        engine.row(f"SELECT max({source.time}) FROM {source.table} WHERE {relation.where or 'true'}")[0]
        for relation in config.relations
        if relation.half_life_days
        for source in (sources[name] for name in relation.sources if name in sources)
    ]
    return max((time for time in latest if time is not None), default=None)


def invalid_weight(relation: RelationConfig) -> str:
    """SQL condition of the rows whose weight is not a positive number."""
    weight = f"CAST(({relation.weight}) AS DOUBLE)"
    return f"({weight} IS NULL OR NOT ({weight} > 0 AND isfinite({weight})))"
