"""Events: the rows of a source that a declared relation turns into edges, as SQL."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from artifacts.expressions.engine import Engine, quoted, text
from artifacts.formats.graph import SPLITS, Side
from artifacts.moment import epoch_seconds
from partitioning.config.sections import ConsentConfig, GraphConfig, RelationConfig
from partitioning.events.consent import Agreed, Consented, agreeing
from partitioning.events.lookups import derived, remaining
from partitioning.events.time_split import NO_MOMENT, SplitByTime
from partitioning.events.weights import reference_time, weight_units
from partitioning.sources.table import Source, check_expression, has_rows

# The split code of events whose split the hash of the edge decides, once the entities are mapped.
BY_HASH = len(SPLITS)
# Types of ids that DuckDB tells apart and finds as numbers, in half the time that text takes. Ids are still compared as
# text: a number has one, and is found by it among ids of other columns that are text.
NUMBERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})


@dataclass(frozen=True)
class Events:
    """One declared relation on one of its sources, ids looked up. The texts are SQL on the source's columns."""

    declared: int
    relation: RelationConfig
    source: Source
    selected: tuple[str, ...]  # `where` and the end of the time split
    consented: Consented | None  # of relations that need consent of a source
    removed: str | None  # what follows FROM for the rows that `without` left out
    split: str
    moment: str  # epoch seconds that decide the split, NO_MOMENT where another rule does
    weight: str  # in units
    numbers: frozenset[Side]  # whose ids are integers of at most 64 bits with a sign

    @property
    def condition(self) -> str:
        """The rows that are edges. Always valid after WHERE."""
        return " AND ".join((*self.selected, *(self.consented.people if self.consented else ()))) or "true"

    @property
    def of_people(self) -> Source:
        """The source with the events outside of intervals, too, in which `condition` holds for the same people."""
        return self.consented.before if self.consented else self.source

    def id(self, side: Side) -> str:
        """SQL of the id on a side: a BIGINT where it is one of `numbers`, else text."""
        column = self.relation.side(side).column
        return f"CAST({quoted(column)} AS BIGINT)" if side in self.numbers else text(column)


def declared_events(engine: Engine, config: GraphConfig, sources: dict[str, Source]) -> list[Events]:
    """Every pair of a relation and a source with rows. Raises ConfigError for SQL that DuckDB does not accept."""
    filled = {name for name, source in sources.items() if has_rows(engine, source)}
    for index, relation in enumerate(config.relations):
        for name in (name for name in relation.sources if name in filled):
            check_relation(engine, sources[name], relation, f"graph.relations[{index}]")
    agreed = agreeing(engine, config, sources)
    reference = reference_time(engine, config, {name: sources[name] for name in filled})
    events = []
    for index, relation in enumerate(config.relations):
        consent = config.consent_of(relation)
        for name in (name for name in relation.sources if name in filled):
            left, removed = remaining(engine, relation, sources[name], sources, f"graph.relations[{index}]")
            looked_up, source = derived(engine, relation, left, sources)
            consented = _consented(looked_up, source, consent, agreed)
            source = consented.source if consented else source
            row = events_of(config, index, looked_up, source, reference)
            numbers = _numbers(engine, looked_up, source)
            events.append(replace(row, consented=consented, removed=removed, numbers=numbers))
    return events


def events_of(
    config: GraphConfig, index: int, relation: RelationConfig, source: Source, reference: int | None
) -> Events:
    """What the config makes of the rows of a source for a declared relation, each row by itself."""
    split, moment = _split(config, relation, source)
    weight = weight_units(relation, source, reference)
    selected = tuple(_selected(config, relation, source))
    return Events(index, relation, source, selected, None, None, split, moment, weight, frozenset())


def _numbers(engine: Engine, relation: RelationConfig, source: Source) -> frozenset[Side]:
    """Asked of the table itself: where ids are looked up, or are pseudonyms, its types are not those of the files."""
    columns = ", ".join(f"{quoted(end.column)} AS {side}" for side, end in relation.sides.items())
    types = engine.columns(f"SELECT {columns} FROM {source.table}")
    return frozenset(side for side in Side if types[side] in NUMBERS)


def check_relation(engine: Engine, source: Source, relation: RelationConfig, path: str) -> None:
    """Raises ConfigError for a `where` or `weight` that is none over the columns of a source."""
    for key, sql, wanted in (("where", relation.where, "a boolean"), ("weight", relation.weight, "a number")):
        if sql is not None:
            check_expression(engine, source, sql, f"{path}.{key}", wanted)


def _consented(
    relation: RelationConfig, source: Source, consent: ConsentConfig | None, agreed: dict[ConsentConfig, Agreed]
) -> Consented | None:
    if consent is None or consent not in agreed:
        return None
    ids = [side.column for side in relation.sides.values() if side.type == consent.type]
    return agreed[consent].consented(source, ids)


def _selected(config: GraphConfig, relation: RelationConfig, source: Source) -> Iterator[str]:
    if relation.where:
        yield f"({relation.where})"
    until = config.split.time.until if config.split.time and relation.split and not source.config.split else None
    if until is not None and source.time:
        yield f"{source.time} < {epoch_seconds(until)}"


def _split(config: GraphConfig, relation: RelationConfig, source: Source) -> tuple[str, str]:
    """SQL of the split's code, a position in SPLITS or BY_HASH, and of the moment that decides it."""
    if source.config.split:
        return str(SPLITS.index(source.config.split)), str(NO_MOMENT)
    if not relation.split:
        return "0", str(NO_MOMENT)
    if config.split.time and source.time:
        return SplitByTime.of(config.split.time).sql(source.time), source.time
    return str(BY_HASH if config.split.random else 0), str(NO_MOMENT)
