"""Lists of people, those who agreed and those to forget: what a run was made with, and what it has come to."""

from typing import Any

from pipeline.stages.earlier.entity_map import key_of_ids
from pipeline.workspace.context import Context
from pipeline.workspace.fingerprint import digest_of
from pipeline.workspace.workspace import DIRECTORIES, Run


def forgotten_line(forgotten: dict[str, dict[str, int]], settled: int) -> str:
    """What a list of ids to forget has come to, in words: how many were there under their type, and how many not.

    Of `settled` files nothing is known here but that they were counted before, without those to forget.
    """
    found, missing = (sum(counts[key] for counts in forgotten.values()) for key in ("found", "not_found"))
    by_type = ", ".join(f"{type} {counts['found']} of {sum(counts.values())}" for type, counts in forgotten.items())
    told = f"forgot {found} of {found + missing} listed ids ({by_type}); not found: {missing}"
    return f"{told} (in the files that were read: the others were counted without the listed ids)" if settled else told


def lists_digest(context: Context) -> str | None:
    """A digest of all that says who may be in the graph and under which name; None where nothing does.

    It becomes part of what a graph is made from, so that a run can be asked whether it was made with the present lists.
    """
    graph = context.config.graph
    asked = [(relation.label, graph.consent_of(relation)) for relation in graph.relations]
    sources = sorted({one.source for _, one in [*asked, ("", graph.forget)] if one and one.source})
    if not sources and graph.ids is None:
        return None
    listed: dict[str, list[Any]] = {
        name: [(file, context.source_states[file]) for file in map(context.inputs.name, context.source_files[name])]
        for name in sources
    }
    for name in context.table_states.keys() & listed.keys():
        listed[name].append(context.table_states[name])
    says = [(label, consent.model_dump()) for label, consent in asked if consent]
    told = graph.model_dump(mode="json", include={"forget", "ids"})
    configs = [graph.sources[name].model_dump(mode="json") for name in sources]
    return digest_of([says, told, configs, listed, key_of_ids(graph)])


def made_with_present_lists(context: Context, run: Run, version: int) -> bool:
    """Whether a run's graph follows from the lists as they are now, by a `version` of partitioning."""
    record = run.record("partition")
    if record is None or record["parts"]["version"] != version:
        return False
    return bool(record["parts"].get("lists") == lists_digest(context))


def runs_with_other_lists(context: Context, but: Run, version: int) -> list[Run]:
    """Runs, other than one, with a stage that was made with other lists, or was interrupted."""
    return [
        run
        for run in context.workspace.runs()
        if run != but
        and any(run.directory(stage).exists() or run.partial(stage).exists() for stage in DIRECTORIES)
        and not made_with_present_lists(context, run, version)
    ]
