"""What a config asks of each source: which columns in which roles, and which expressions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from artifacts.errors import ConfigError
from artifacts.expressions.engine import Engine, quoted
from artifacts.expressions.expression import Expression, parse, resolve
from partitioning.config.data_checks import CheckConfig
from partitioning.config.sections import GraphConfig
from partitioning.sources.queries import query_columns, query_tables

Role = Literal["id", "relation", "time", "label"]


@dataclass
class Use:
    """The columns that the config names of a source, and the expressions over its rows.

    `checked` are columns that are compared or measured; `queried` may be columns in the SQL of checks, None: all of
    them are wanted.
    """

    roles: dict[str, Role] = field(default_factory=dict)
    expressions: list[Expression] = field(default_factory=list)
    hashed: set[str] = field(default_factory=set)  # columns of ids that are read as pseudonyms
    exact: set[str] = field(default_factory=set)  # times that are compared to the fraction
    checked: list[str] = field(default_factory=list)
    queried: set[str] | None = field(default_factory=set)

    def named(self, column: str) -> bool:
        """Whether an expression reads a column."""
        folded = column.casefold()
        return any(folded == name.casefold() for expression in self.expressions for name in expression.columns)

    def columns(self, known: list[str], source: str) -> list[str]:
        """Every column of the source that is used; one without a name is none, such as the index of a table that pandas
        wrote. Raises ConfigError for one that an expression does not find."""
        named = []
        for expression in self.expressions:
            columns = resolve(expression, known, source)
            if ids := sorted(self.hashed & set(columns)):
                raise ConfigError(
                    f"{expression.path}: column '{ids[0]}' holds ids, of which graph.ids leaves pseudonyms only"
                )
            named += columns
        queried = [c for c in known if c and (self.queried is None or c.casefold() in self.queried)]
        return list(dict.fromkeys([*self.roles, *named, *self.checked, *queried]))


def used(engine: Engine, config: GraphConfig, checks: Iterable[CheckConfig] = ()) -> dict[str, Use]:
    """What each source that is used is used for. Raises ConfigError for an expression that is not one."""
    uses: dict[str, Use] = {}
    for index, relation in enumerate(config.relations):
        path = f"graph.relations[{index}]"
        for name in relation.sources:
            use = uses.setdefault(name, Use())
            if relation.relation_column:
                use.roles[relation.relation_column] = "relation"
            use.roles.update({side.column: "id" for side in relation.sides.values()})
            for key, sql in (("where", relation.where), ("weight", relation.weight)):
                if sql is not None:
                    use.expressions.append(parse(engine, sql, f"{path}.{key}"))
        for join in (side.join for side in relation.sides.values() if side.join):
            uses.setdefault(join.source, Use()).roles.update({join.column: "id", join.to: "id"})
        if relation.without:
            for name in (relation.without.source, *relation.sources):
                uses.setdefault(name, Use()).checked.extend(relation.without.columns)
            ids = {side.column for side in relation.sides.values()} & {*relation.without.columns}
            uses[relation.without.source].roles.update(dict.fromkeys(ids, "id"))
        consent = config.consent_of(relation)
        if consent and consent.source and consent.column:
            use = uses.setdefault(consent.source, Use())
            use.roles[consent.column] = "id"
            use.roles.update(dict.fromkeys(consent.times, "time"))
            if consent.intervals:
                use.exact.update(consent.times)
                for name in relation.sources:
                    uses[name].exact.add(config.sources[name].time_column or "")
            answer = quoted(consent.answer) if consent.answer else None
            for key, sql in (("about", consent.about), ("where", consent.where), ("answer", answer)):
                if sql is not None:
                    use.expressions.append(parse(engine, sql, f"{config.consent_path(index)}.{key}"))
    if config.forget:
        forget = uses.setdefault(config.forget.source, Use())
        forget.roles.update({config.forget.type_column: "relation", config.forget.column: "id"})
    _add_checks(engine, config, checks, uses)
    _add_times(config, uses)
    if config.ids:
        for use in uses.values():
            use.hashed = {column for column, role in use.roles.items() if role == "id"}
        _require_ids_apart(config)
    return uses


def used_for_labels(config: GraphConfig) -> dict[str, Use]:
    """What each source that names ids is used for by that."""
    uses: dict[str, Use] = {}
    for label in config.labels.values():
        roles = uses.setdefault(label.source, Use()).roles
        roles[label.text] = "label"
        roles[label.column] = "id"  # also where an id is its own label
    _add_times(config, uses)
    return uses


def _add_times(config: GraphConfig, uses: dict[str, Use]) -> None:
    for name, use in uses.items():
        if column := config.sources[name].time_column:
            use.roles[column] = "time"


def _require_ids_apart(config: GraphConfig) -> None:
    """Raises ConfigError for a column that holds ids and something else, which a pseudonym would not be."""
    for index, relation in enumerate(config.relations):
        times = [config.sources[name].time_column for name in relation.sources]
        for side, end in relation.sides.items():
            if end.column in (relation.relation_column, *times):
                path = f"graph.relations[{index}].{side.value}.column"
                raise ConfigError(f"{path}: '{end.column}' is no id alone; with graph.ids, expected a column of ids")


def _add_checks(engine: Engine, config: GraphConfig, checks: Iterable[CheckConfig], uses: dict[str, Use]) -> None:
    for index, check in enumerate(checks):
        if check.source is not None:
            named = [check.column] if check.column else check.columns
            uses.setdefault(check.source, Use()).checked.extend(named)
        if check.sql is not None:
            path = f"checks[{index}].sql"
            columns = query_columns(engine, check.sql, path)
            for name in query_tables(engine, check.sql, path, config.sources):
                use = uses.setdefault(name, Use())
                use.queried = None if columns is None or use.queried is None else use.queried | columns
