"""The proposal as a JSON5 file that a person goes on with."""

import json
import re
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from artifacts.printable import one_line
from pipeline.proposal.log import Log, Relation, Side
from pipeline.proposal.proposal import Proposal

WIDTH = 110  # of comments and of what is written on one line
MUCH = 500_000  # events from which on evaluating all held-out ones takes long


def written(proposal: Proposal, given: str, schema: str | None) -> str:
    """The text of the config. `given`: what it was made from; `schema`: where configs/schema.json lies from it."""
    lines = [
        f"// Proposed by `transra init` for {one_line(given)}.",
        "// It runs as it stands. Read it once: all that `init` knows of the logs is names and values.",
        "// Keys are described in docs/config.md; `transra config show` prints all of them with their defaults.",
    ]
    if proposal.notes:
        lines += ["//", "// Not decided, or left out:", *(line for note in proposal.notes for line in _comment(note))]
    lines.append("{")
    if schema:
        lines += [f"  $schema: {_value(schema)},", ""]
    lines += [f"  {line}" if line else "" for section in (_graph(proposal), _model(proposal)) for line in section]
    return "\n".join([*lines, "}", ""])


def _comment(note: str) -> list[str]:
    """A note in lines of a comment."""
    return wrap(one_line(note), WIDTH, initial_indent="// - ", subsequent_indent="//   ")


def _graph(proposal: Proposal) -> Iterator[str]:
    yield "graph: {"
    yield "  sources: {"
    for name, log in proposal.sources.items():
        yield f"    {_key(name)}: {_value(_source(log, proposal, proposal.consent or {}))},"
    for name, log in proposal.commented.items():
        yield f"    // {_key(name)}: {_value(_source(log, proposal, proposal.doubted or {}))},"
    yield "  },"
    types = [f"{_key(type)}: {{}}" for type in proposal.types]
    yield from _wrapped("  entities: { ", types, " },")
    if more := [f"{_key(type)}: {{}}" for type in proposal.commented_types]:
        yield from _wrapped("  // of relations in comments: ", more, "")
    yield "  relations: ["
    for relation in proposal.relations:
        yield from (f"    {line}" for line in _relation(relation))
    yield "  ],"
    if proposal.consent:
        yield '  // Events of `domain: "offsite"` count only for people who opted in.'
        yield f"  consent: {_value(proposal.consent)},"
    elif proposal.doubted:
        yield "  // Not taken: something beside it may say otherwise (see above)."
        yield f"  // consent: {_value(proposal.doubted)},"
    if proposal.split.section:
        yield f"  // {proposal.split.remark}"
        yield f"  split: {_value(proposal.split.section)},"
    yield "},"
    yield ""


def _source(log: Log, proposal: Proposal, consent: Mapping[str, Any]) -> dict[str, Any]:
    """A source's section. Times are of events; those of consent are named by it, and have their unit here."""
    paths = log.found.paths
    source: dict[str, Any] = {"path": paths[0] if len(paths) == 1 else list(paths)}
    if log.columns.time and any(log.name in one.sources for one in proposal.relations if one.domain != "side"):
        unit = log.columns.time_unit
        source |= {"time_column": log.columns.time}
    else:
        times = [consent[key] for key in ("time_column", "from_column", "to_column") if key in consent]
        units = [log.profile.columns[time].unit for time in times] if consent.get("source") == log.name else []
        unit = next((unit for unit in units if unit), None)
    source |= {"time_unit": unit} if unit else {}
    return source | ({"split": log.found.split} if log.found.split else {})


def _relation(relation: Relation) -> Iterator[str]:
    """Two lines, as comments where the relation is left out."""
    mark = "// " if relation.left_out else ""
    for remark in (relation.left_out, relation.remark):
        if remark:
            yield f"// {one_line(remark[0].upper() + remark[1:])}."
    sources = relation.sources[0] if len(relation.sources) == 1 else list(relation.sources)
    first: dict[str, Any] = {"name": relation.name, "source": sources}
    first |= {key: value for key in ("where", "weight") if (value := getattr(relation, key))}
    first |= {} if relation.domain == "onsite" else {"domain": relation.domain}
    yield f"{mark}{{ {_pairs(first)},"
    yield f"{mark}  lhs: {_side(relation.lhs)}, rhs: {_side(relation.rhs)} }},"


def _side(side: Side) -> str:
    return _value({"type": side.type, "column": side.column})


def _model(proposal: Proposal) -> Iterator[str]:
    anchors = [relation.name for relation in proposal.events if relation.anchor] or [proposal.events[0].name]
    yield "model: {"
    yield '  operator: "transra",'
    yield "  // The space of these relations is the one that is exported: whatever is looked up by nearness."
    yield from _wrapped("  anchors: [", list(map(_value, anchors)), "],")
    yield f"  dimension: {64 if proposal.rows >= 10_000 else 32},"
    yield f"  epochs: {_epochs(proposal.rows)},  // small logs need more; `transra tune` chooses by the validation"
    yield "},"
    if proposal.rows >= MUCH:
        yield ""
        yield "// Every held-out edge is ranked among all entities of its type: so many of them take a minute."
        yield "evaluate: { max_edges: 5000 },"


def _epochs(rows: int) -> int:
    return 30 if rows < 10_000 else 10 if rows < 1_000_000 else 5


def _wrapped(start: str, items: list[str], end: str) -> Iterator[str]:
    """Items with commas between `start` and `end`, in as many lines as they take."""
    line = start
    for at, item in enumerate(items):
        if len(line) + len(item) > WIDTH and line != start:
            yield line.rstrip()
            line = " " * len(start)
        line += item + (", " if at < len(items) - 1 else "")
    yield line + end


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {_pairs(value)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """A string of JSON5; what is not printable is escaped, since U+2028 and others would end a line.

    But for what takes two escapes: the parser reads these as two letters, and none of them ends a line.
    """
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() or one > "\uffff" else f"\\u{ord(one):04x}" for one in quoted)


def _pairs(value: Mapping[str, Any]) -> str:
    return ", ".join(f"{_key(key)}: {_value(one)}" for key, one in value.items())


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_$]*", name) else _text(name)
