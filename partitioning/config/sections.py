"""The `graph` section of the run config: sources, entity types, relations, consent and splits."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from artifacts.formats.graph import TYPE_NAME_PATTERN, Side
from artifacts.moment import Moment
from artifacts.section import Section
from partitioning.config.benchmark import benchmark_graph

_MEMORY = re.compile(r"^\s*(\d{1,15}(?:\.\d{1,15})?)\s*(KB|MB|GB|TB|KiB|MiB|GiB|TiB)\s*$")
_POWER = {"K": 1, "M": 2, "G": 3, "T": 4}
LEAST_MEMORY = 512_000_000  # bytes that a build of any size needs: the one floor of graph.memory_limit

Split = Literal["train", "valid", "test"]
Format = Literal["parquet", "csv", "tsv", "jsonl", "sqlite"]
SQLITE = "sqlite:///"  # before a path: how database URLs name a file
TimeUnit = Literal["s", "ms", "us"]
ColumnType = Literal["BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMP", "DATE", "VARCHAR"]
Domain = Literal["onsite", "offsite", "side"]
TypeName = Annotated[str, Field(pattern=TYPE_NAME_PATTERN)]


def memory_bytes(text: str) -> int:
    """Bytes of a size such as "4GB" or "512MiB". Raises ValueError for anything else."""
    if not (match := _MEMORY.match(text)):
        raise ValueError(f"'{text}' is not an amount of memory; write for example 4GB or 512MiB")
    number, unit = match.groups()
    return int(float(number) * (1024 if "i" in unit else 1000) ** _POWER[unit[0]])


def _memory(text: str) -> str:
    memory_bytes(text)
    return text


Memory = Annotated[str, AfterValidator(_memory)]


class PostgresConfig(Section):
    """A table or a query of a PostgreSQL server. How to get there is in the environment, never in the config."""

    url_env: str | None = Field(
        None,
        min_length=1,
        description="Environment variable with the connection string, such as postgresql://user@host/database; by "
        "default libpq finds its own (PGSERVICE, PGHOST, PGUSER, PGPASSFILE).",
    )
    table: str | None = Field(None, min_length=1, description="The table or view to read, as SQL names it.")
    query: str | None = Field(None, min_length=1, description="One SELECT to read instead.")
    version: str | None = Field(
        None,
        min_length=1,
        description="One SELECT of one row, which is another one whenever the source has changed. By default every "
        "command lets the server read all rows, to compare them with those of the graph.",
    )


class SourceConfig(Section):
    """A log or a table: files of one format and one schema, or rows of a database."""

    path: str | list[str] | None = Field(
        None,
        description="Files, relative to the root: a path, a directory or a glob (also **), or a list of them; or a URL "
        "of a store, such as s3://bucket/x/*.parquet. Directories named key=value below its first glob, or below a "
        "directory that it names, become columns.",
    )
    postgres: PostgresConfig | None = Field(None, description="In place of a path: a table or a query of PostgreSQL.")
    format: Format | None = Field(None, description="By default from the suffix, also before .gz or .zst.")
    table: str | None = Field(None, min_length=1, description="Of a SQLite database: the table or view to read.")
    query: str | None = Field(None, min_length=1, description="Of a SQLite database: one SELECT to read instead.")
    columns: list[str] | None = Field(None, min_length=1, description="Column names of a CSV or TSV without header.")
    types: dict[str, ColumnType] = Field(
        {},
        description="Types of columns of a CSV, TSV or JSON lines source, for where and weight: BIGINT, DOUBLE, "
        "BOOLEAN, TIMESTAMP, DATE or VARCHAR. Other columns of a CSV or TSV are text. What does not fit is refused.",
    )
    time_column: str | None = Field(None, description="When the event happened.")
    time_unit: TimeUnit | None = Field(None, description="Unit of an integer time column, since 1970 UTC.")
    split: Split | None = Field(None, description="The split that the whole source belongs to.")
    append_only: bool = Field(
        False,
        description="Files only join this log; none changes or leaves. A graph that follows a published one then reads "
        "only the files that are new.",
    )

    @property
    def paths(self) -> list[str]:
        return [self.path] if isinstance(self.path, str) else self.path or []

    @property
    def patterns(self) -> list[str]:
        return [path.removeprefix(SQLITE) for path in self.paths]

    @property
    def is_database(self) -> bool:
        """Whether the config says that the source lies in SQLite: by its format, its table or query, or its URL."""
        by_url = any(path.startswith(SQLITE) for path in self.paths)
        return self.format == "sqlite" or by_url or self.table is not None or self.query is not None


class LabelConfig(Section):
    """What a person reads beside an id: rows of `source` whose `column` has the id give the text in `text`."""

    source: str = Field(description="Source that names ids, such as a table of ads.")
    column: str = Field(description="Its column with the ids.")
    text: str = Field(description="Its column with the labels, such as titles.")


class EntityConfig(Section):
    """An entity type."""

    partitions: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="1, or as many as graph.partitions (the default). Of types of 1, 64 MiB in all, every one of "
        "several machines (model.machines) has a copy.",
    )
    min_degree: int | None = Field(
        None,
        ge=1,
        le=1 << 31,
        description="Entities with fewer training edges are left out with all their edges, until none is left. "
        "Edges of an inverse do not count.",
    )
    label: LabelConfig | None = Field(
        None,
        exclude_if=lambda label: label is None,  # what was made before there were labels is as up to date as it was
        description="Where a title or a name is read for each id, to be shown beside it. Of an id with several, the "
        "first by code point counts, of which 200 characters are kept.",
    )


class JoinConfig(Section):
    """Where an id is looked up: rows of `source` whose `column` has the id give those in `to`."""

    source: str = Field(description="Source that pairs ids, such as a table of ads with their advertisers.")
    column: str = Field(description="Its column with the ids of the log.")
    to: str = Field(description="Its column with the ids of the edge.")


class SideConfig(Section):
    """One end of a relation."""

    type: str = Field(description="Entity type, declared in graph.entities.")
    column: str = Field(description="Column of the source that holds the id.")
    join: JoinConfig | None = Field(
        None, description="Looks the id up in another source. A row without a partner is no edge, with two it is two."
    )
    max_degree: int | None = Field(
        None,
        ge=1,
        le=1 << 31,
        description="Training edges of this relation that an entity keeps on this side, chosen by a portable hash.",
    )


class WithoutConfig(Section):
    """Rows to leave out: those that another source has, too."""

    source: str = Field(description="The source that lists them.")
    columns: tuple[str, ...] = Field(
        min_length=1, description="Columns of both sources; a row goes if all of them are as in a row of the list."
    )


class ForgetConfig(Section):
    """Entities that must not be in the graph, nor in what is made from it."""

    source: str = Field(description="Source that lists them.")
    type_column: str = Field("type", description="Its column with the entity type.")
    column: str = Field("id", description="Its column with the id.")


class IdsConfig(Section):
    """Ids become pseudonyms while they are read: nothing that is written holds an id of the logs."""

    hash: Literal["hmac-sha256"] = Field(description="HMAC of the id's text, in hexadecimal.")
    key_env: str = Field(min_length=1, description="Environment variable with the key, of 16 bytes or more.")


class ConsentConfig(Section):
    """Who opted in: a source of people's answers and what in it says yes, or the statement that all of them did."""

    source: str | None = Field(None, description="Source of answers, a row for each; whoever has none did not agree.")
    type: str | None = Field(None, description="Entity type of those people.")
    column: str | None = Field(None, description="Column of the source that holds their ids.")
    about: str | None = Field(
        None, description="SQL condition on the source: the rows that answer this question. By default all."
    )
    where: str | None = Field(
        None,
        description="SQL condition on the source: a row says yes where it is true, else no. Without where and answer, "
        "every row is a yes.",
    )
    answer: str | None = Field(
        None, description="In place of where: the column with the answer, compared as text with `yes` and `no`."
    )
    yes: tuple[str, ...] = Field((), description="Answers that say yes.")
    no: tuple[str, ...] = Field((), description="Answers that say no; any other is refused.")
    time_column: str | None = Field(
        None,
        description="When the answer was given: a person's latest counts, and no where yes and no are of one time. By "
        "default the source's time_column; without either, a person who says both is refused.",
    )
    from_column: str | None = Field(
        None,
        description="In place of answers, a row for each interval in which a person had opted in: the column with its "
        "beginning; no value: since ever. An event counts if its time lies within one.",
    )
    to_column: str | None = Field(
        None,
        description="The column with the interval's end, which is not part of it; no value: still in force.",
    )
    assumed: str | None = Field(
        None,
        min_length=1,
        description="Why all rows may be used without a consent source; the report repeats it.",
    )

    @property
    def intervals(self) -> bool:
        """Whether the source holds intervals, not answers."""
        return self.source is not None and self.from_column is not None

    @property
    def times(self) -> tuple[str, ...]:
        """Columns of the source that hold times."""
        return tuple(one for one in (self.time_column, self.from_column, self.to_column) if one)

    @property
    def text(self) -> str:
        """What the graph says of it."""
        if self.assumed:
            return f"assumed: {self.assumed}"
        says = f" where {self.where}" if self.where else ""
        says = f" where {self.answer} is {' or '.join(self.yes)}" if self.answer else says
        says = f" from {self.from_column} to {self.to_column}" if self.intervals else says
        about = f", about {self.about}" if self.about else ""
        return f"source {self.source}, {self.type} in column {self.column}{says}{about}"


class RelationConfig(Section):
    """A relation: which rows of which sources are its edges. Exactly one of `name` and `relation_column`."""

    name: str | None = Field(None, min_length=1, description="Name of the relation.")
    relation_column: str | None = Field(None, description="One relation for each value of this column.")
    source: str | list[str] = Field(description="The source, or a list of sources, whose rows are edges.")
    where: str | None = Field(None, description="SQL condition on the source's columns.")
    without: WithoutConfig | None = Field(None, description="Leaves out rows that another source has, too.")
    lhs: SideConfig = Field(description="Left-hand side: the head.")
    rhs: SideConfig = Field(description="Right-hand side: the tail.")
    weight: str | None = Field(
        None,
        description="SQL number on the source's columns, such as 1: repeated events become one edge, whose weight is "
        "their sum and which belongs to the earliest split that it occurs in. By default every event is an edge.",
    )
    half_life_days: float | None = Field(
        None,
        ge=1e-6,
        le=1e6,
        description="Age at which an event's weight has halved, counted from the end of training.",
    )
    inverse: str | None = Field(None, min_length=1, description="Name of a relation with the same edges turned around.")
    domain: Domain = Field("onsite", description="offsite needs consent; side: side information such as pin to topic.")
    split: bool = Field(
        True,
        description="false: graph.split holds none of its edges out. Only of side information, which says nothing of "
        "what the test asks; the graph's window of time does not count them",
    )
    allow_empty: bool = Field(False, description="Accept a relation without a single edge.")
    consent: ConsentConfig | None = Field(None, description="Overrides graph.consent for this offsite relation.")

    @property
    def sources(self) -> list[str]:
        return [self.source] if isinstance(self.source, str) else self.source

    @property
    def label(self) -> str:
        """What to call the relation in messages and reports."""
        return self.name or f"by {self.relation_column}"

    @property
    def sides(self) -> dict[Side, SideConfig]:
        return {side: self.side(side) for side in Side}

    def side(self, side: Side) -> SideConfig:
        return side.pick(self.lhs, self.rhs)


class TimeSplit(Section):
    """Events before `valid_from` are train, before `test_from` valid, before `until` test; later ones are left out."""

    valid_from: Moment = Field(description="Start of validation: ISO date or datetime (UTC), or epoch seconds.")
    test_from: Moment = Field(description="Start of test.")
    until: Moment | None = Field(None, description="End of test; events from here on are left out.")


class RandomSplit(Section):
    """Fractions of distinct edges, drawn by a portable hash: copies of an edge fall together."""

    valid: float = Field(0.0, ge=0, lt=1, description="Fraction of edges for validation.")
    test: float = Field(0.0, ge=0, lt=1, description="Fraction of edges for test.")


class SplitConfig(Section):
    """At most one of the two; without either, everything is train (unless a source has its own `split`)."""

    time: TimeSplit | None = Field(None, description="Split by time.")
    random: RandomSplit | None = Field(None, description="Split by a hash of the edge.")


class SparkConfig(Section):
    """Which Spark cluster builds the graph. All else is Spark's own: spark-defaults.conf below SPARK_CONF_DIR."""

    master: str = Field("local[*]", min_length=1, description="Spark's master URL, such as spark://host:7077 or yarn.")


class GraphConfig(Section):
    """How events become a graph."""

    without_effect = frozenset({"memory_limit", "threads", "engine", "spark"})

    engine: Literal["duckdb", "spark"] = Field(
        "duckdb",
        description="What reads the logs: DuckDB on this machine, or Spark for logs beyond one; the graph is the same.",
    )
    spark: SparkConfig = Field(SparkConfig(), description='The cluster, with engine: "spark".')

    benchmark: str | None = Field(
        None,
        min_length=1,
        description="Directory of a knowledge-graph benchmark, relative to the root: train, valid and test as .tsv or "
        ".txt of head, relation and tail. It stands for sources, entities and relations; those that are given win.",
    )
    partitions: int = Field(1, ge=1, le=4096, description="Partitions of every entity type not declared otherwise.")
    memory_limit: Memory = Field("4GB", description="Memory that partitioning may use, such as 4GB.")
    threads: int | None = Field(None, ge=1, le=1024, description="By default one for each core.")
    seed: int = Field(
        0, ge=0, le=(1 << 63) - 1, description="Of the random split and of the order of edges in a bucket."
    )
    write_names: bool = Field(False, description="Also write PBG's entity_names files, which its own export needs.")
    sources: dict[str, SourceConfig] = Field(min_length=1, description="Where rows come from, by name.")
    entities: dict[TypeName, EntityConfig] = Field(min_length=1, description="Entity types, by name.")
    relations: list[RelationConfig] = Field(
        min_length=1,
        description="Relations, in the order of their indices; beside `extends` also an object that changes those of "
        "the base by name.",
    )
    consent: ConsentConfig | None = Field(None, description="Who opted in, for every offsite relation.")
    forget: ForgetConfig | None = Field(None, description="Entities to remove, also from the entity map.")
    ids: IdsConfig | None = Field(None, description="Pseudonyms in place of ids; by default ids are kept as they are.")
    split: SplitConfig = Field(SplitConfig(), description="Train, validation and test.")

    @model_validator(mode="before")
    @classmethod
    def _expand_benchmark(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(directory := given.get("benchmark"), str) and directory:
            return {**benchmark_graph(directory), **given}
        return given

    def with_inverses(self) -> "GraphConfig":
        """The same graph with each `inverse` as a relation of its own, after all others."""
        turned = [
            relation.model_copy(
                update={"name": relation.inverse, "inverse": None, "lhs": relation.rhs, "rhs": relation.lhs}
            )
            for relation in self.relations
            if relation.inverse
        ]
        return self.model_copy(update={"relations": [*self.relations, *turned]})

    @property
    def declared_names(self) -> list[str]:
        """Names of relations that the config itself gives, inverses too; a `relation_column` has its in the data."""
        return [name for relation in self.relations for name in (relation.name, relation.inverse) if name]

    @property
    def memory_bytes(self) -> int:
        """`memory_limit` in bytes."""
        return memory_bytes(self.memory_limit)

    @property
    def consents(self) -> list[ConsentConfig]:
        """What says that people agreed, of each relation that needs it."""
        return [consent for relation in self.relations if (consent := self.consent_of(relation))]

    @property
    def append_only(self) -> bool:
        """Whether the graph keeps a ledger of the files that it has counted."""
        return any(source.append_only for source in self.sources.values())

    @property
    def lists(self) -> set[str]:
        """Sources in which something is looked up: who agreed, which ids belong together, whom to forget."""
        joins = [side.join for relation in self.relations for side in relation.sides.values()]
        without = [relation.without for relation in self.relations]
        return {one.source for one in (*self.consents, *joins, *without, self.forget) if one and one.source}

    @property
    def labels(self) -> dict[str, LabelConfig]:
        """Where labels come from, by entity type."""
        return {name: entity.label for name, entity in self.entities.items() if entity.label}

    @property
    def label_sources(self) -> set[str]:
        """Sources that name ids and do nothing else: no edge depends on them."""
        of_edges = {name for relation in self.relations for name in relation.sources}
        return {label.source for label in self.labels.values()} - of_edges - self.lists

    @property
    def holds_out(self) -> bool:
        """Whether some edges may be no training edges."""
        of_sources = {source.split for source in self.sources.values()} - {None, "train"}
        return bool(self.split.time or self.split.random or of_sources)

    def partitions_of(self, entity_type: str) -> int:
        """Number of partitions of an entity type."""
        return self.entities[entity_type].partitions or self.partitions

    def consent_of(self, relation: RelationConfig) -> ConsentConfig | None:
        """What says that people agreed to this relation's rows; None for relations that need no consent."""
        return (relation.consent or self.consent) if relation.domain == "offsite" else None

    def needs_consent(self, type: str) -> bool:
        """Whether ids of a type occur in rows that are used only if somebody agreed."""
        agreed = [relation for relation in self.relations if (one := self.consent_of(relation)) and one.source]
        return any(side.type == type for relation in agreed for side in relation.sides.values())

    def consent_path(self, index: int) -> str:
        """Where the config says who agreed to a relation's rows."""
        return f"graph.relations[{index}].consent" if self.relations[index].consent else "graph.consent"
