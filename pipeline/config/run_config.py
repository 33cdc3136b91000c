"""The root of a run config: one section per stage."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, NamedTuple

from pydantic import Field

from artifacts.errors import ConfigError
from artifacts.section import Problem, Section, did_you_mean
from artifacts.sources.stores import is_url
from partitioning import CheckConfig, GraphConfig, check_problems, graph_problems
from pbg_transra import EvaluateConfig, ExportConfig, FreezeConfig, ModelConfig, types_on_both_sides, with_defaults
from pipeline.config.publication import GateConfig, KeepConfig, PublishConfig
from ranker import RankerConfig, chosen

# Program and arguments; no shell.
Command = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class Sides(NamedTuple):
    """A relation's name, and the types on its sides."""

    name: str
    lhs: str
    rhs: str


class RunConfig(Section):
    """What `transra` reads. Relative paths start at the root: `--root`, or the checkout, or the current directory."""

    without_effect = frozenset({"on_success", "on_failure", "prometheus"})

    schema_url: str = Field("", alias="$schema", description="for editors: where configs/schema.json lies")
    graph: GraphConfig = Field(description="how events become a graph")
    checks: tuple[CheckConfig, ...] = Field(
        (), description="what the data of a graph must be like before it is trained on"
    )
    model: ModelConfig | None = Field(
        None, description="what is trained on it, and how; without it, the graph alone is what a config is for"
    )
    evaluate: EvaluateConfig = Field(EvaluateConfig(), description="how the vectors are judged")
    export: ExportConfig = Field(ExportConfig(), description="how vectors leave")
    gate: GateConfig | None = Field(
        None,
        description="bounds outside of which a run is kept as rejected, and `latest` stays; null: all are published",
    )
    keep: KeepConfig | None = Field(None, description="how many runs stay; null: all, until `transra purge`")
    publish: PublishConfig | None = Field(
        None, description="where published runs are copied to, for readers elsewhere; null: nowhere"
    )
    on_success: Command | None = Field(
        None,
        description="program and arguments, run in the root after a command that makes stages has ended well; the "
        "TRANSRA_ variables of its environment say what was made",
    )
    on_failure: Command | None = Field(
        None, description="the same, after one that failed (not: was interrupted); TRANSRA_REASON says why"
    )
    prometheus: str | None = Field(
        None,
        pattern=r"\.prom$",
        description="file NAME.prom to write after each such command, for the textfile collector of node_exporter",
    )
    ranker: RankerConfig | None = Field(None, description="the CTR/CVR ranker that `transra rank` trains and judges")

    def with_arms(self, names: Sequence[str] | None) -> "RunConfig":
        """The same where these of the ranker's arms are compared. Raises ConfigError for a name that is no arm."""
        if self.ranker is None or names is None:
            return self
        ranker = self.ranker.model_copy(update={"compare": tuple(chosen(self.ranker.arms, names))})
        return self.model_copy(update={"ranker": ranker})

    def settled(self) -> "RunConfig":
        """The same with those defaults of `model` that depend on the graph."""
        if self.model is None:
            return self
        return self.model_copy(update={"model": with_defaults(self.model, self._sides)})

    @property
    def trained(self) -> ModelConfig:
        """The model section. Raises ConfigError where the config is of a graph alone."""
        if self.model is None:
            raise ConfigError("model: missing, expected a section that says what is trained on the graph, and how")
        return self.model

    def problems(self) -> Iterator[Problem]:
        sections: list[tuple[str, Section | None]] = [("model", self.model), ("evaluate", self.evaluate)]
        sections += [("export", self.export), ("publish", self.publish), ("ranker", self.ranker)]
        found = [("graph", problem) for problem in graph_problems(self.graph)]
        found += [(name, problem) for name, section in sections if section for problem in section.problems()]
        found += [("checks", problem) for problem in check_problems(self.checks, self.graph)]
        for name, problem in found:
            yield Problem((name, *problem.path), problem.message)
        if self.ranker and not self.model:
            yield Problem(("model",), "missing, expected a section: the ranker reads the vectors that it trains")
        if self.graph.ids and self.ranker and any(map(is_url, self.ranker.patterns)):
            message = "with graph.ids, a copy of a store's file would hold ids; expected a path"
            yield Problem(("ranker", "impressions"), message)
        if self.model:
            for name in sorted(types_on_both_sides(self._sides, self.model)):
                yield Problem(
                    ("model", "tail_bias"), f"entity type '{name}' is head and tail of anchors; expected one side"
                )
        for position, type in enumerate(self._frozen.types):
            if type not in self.graph.entities:
                hint = did_you_mean(type, list(self.graph.entities))
                path = ("model", "freeze", "types", position)
                yield Problem(path, f"'{type}' is not an entity type of the graph{hint}")
        yield from self._gate_problems()
        if self.ranker and not self.ranker.vectors:
            yield from self._slot_problems(self.ranker)
        if self.ranker and self._declares_all:
            yield from self._attribute_problems(self.ranker)
        if self._declares_all:
            yield from self.unknown_relations(self.graph.declared_names)

    def _gate_problems(self) -> Iterator[Problem]:
        """Of a gate that judges the ranker, without one that reads the run's own vectors."""
        for name in self.gate.of_ranker if self.gate else ():
            if self.ranker is None:
                yield Problem(("gate", name), "judges what `rank` measures; expected a section ranker")
            elif self.ranker.vectors:
                yield Problem(("gate", name), "judges the run's own vectors; expected no ranker.vectors")
            elif self.ranker.fit and self.ranker.fit.arm not in self.ranker.of_compared().arms:
                message = f"judges the arm of ranker.fit, '{self.ranker.fit.arm}'; expected it in ranker.compare"
                yield Problem(("gate", name), message)

    def _slot_problems(self, ranker: RankerConfig) -> Iterator[Problem]:
        """Of a ranker that reads the run's own vectors, which are of the graph's types."""
        for name, slot in ranker.slots.items():
            if slot.type is not None and slot.type not in self.graph.entities:
                hint = did_you_mean(slot.type, list(self.graph.entities))
                path = ("ranker", "slots", name, "type")
                yield Problem(path, f"'{slot.type}' is not an entity type of the graph{hint}")

    def _attribute_problems(self, ranker: RankerConfig) -> Iterator[Problem]:
        """Of slots that are attributes by a relation, where all relations are declared."""
        relations = [relation for relation in self.graph.with_inverses().relations if relation.name is not None]
        for name, slot in ranker.derived_slots.items():
            of = ranker.slots[slot.of].type if slot.of in ranker.slots else None
            sides = {frozenset((one.lhs.type, one.rhs.type)) for one in relations if one.name == slot.via}
            path, names = ("ranker", "slots", name, "via"), [str(relation.name) for relation in relations]
            if slot.via is not None and not sides:
                yield Problem(path, f"'{slot.via}' is not a relation of the graph{did_you_mean(slot.via, names)}")
            elif (
                slot.via is not None and {of, slot.type} <= self.graph.entities.keys() and {of, slot.type} not in sides
            ):
                yield Problem(path, f"'{slot.via}' does not lead from '{of}' to '{slot.type}'")

    @property
    def names_from_data(self) -> bool:
        """Whether a name that the model uses is none that the graph section declares, but may come from the data."""
        named = {*self._anchors, *self._weighted, *self._frozen.relations}
        return not self._declares_all and not named <= set(self.graph.declared_names)

    @property
    def _sides(self) -> list[Sides]:
        """Of each relation that is named here, and of each anchor whose name comes from the data, what it may be."""
        relations = self.graph.with_inverses().relations
        named = [Sides(r.name, r.lhs.type, r.rhs.type) for r in relations if r.name is not None]
        from_data = [r for r in relations if r.name is None]
        others = set(self._anchors) - {side.name for side in named}
        return named + [Sides(name, r.lhs.type, r.rhs.type) for name in sorted(others) for r in from_data]

    @property
    def _anchors(self) -> tuple[str, ...]:
        return self.model.anchors if self.model else ()

    @property
    def _weighted(self) -> Iterable[str]:
        return self.model.relation_weights if self.model else ()

    @property
    def _frozen(self) -> FreezeConfig:
        return self.model.freeze if self.model and self.model.freeze else FreezeConfig()

    @property
    def _declares_all(self) -> bool:
        return all(relation.relation_column is None for relation in self.graph.relations)

    def unknown_relations(self, names: Sequence[str]) -> Iterator[Problem]:
        """What the model names that is none of the graph's relations, given all their names."""
        for position, anchor in enumerate(self._anchors):
            if anchor not in names:
                hint = did_you_mean(anchor, list(names))
                yield Problem(("model", "anchors", position), f"'{anchor}' is not a relation of the graph{hint}")
        for position, relation in enumerate(self._frozen.relations):
            if relation not in names:
                hint = did_you_mean(relation, list(names))
                path = ("model", "freeze", "relations", position)
                yield Problem(path, f"'{relation}' is not a relation of the graph{hint}")
        for name in self._weighted:
            if name not in names:
                hint = did_you_mean(name, list(names))
                yield Problem(("model", "relation_weights", name), f"not a relation of the graph{hint}")
