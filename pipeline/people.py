"""Lists of people, those who agreed and those to forget: what a run was made with, and what it has come to."""

from typing import Any

from pipeline.context import Context
from pipeline.entity_map import key_of_ids
from pipeline.workspace import DIRECTORIES, Run


def forgotten_line(forgotten: dict[str, dict[str, int]]) -> str:
    """What a list of ids to forget has come to, in words: how many were there under their type, and how many not."""
    found, missing = (sum(counts[key] for counts in forgotten.values()) for key in ("found", "not_found"))
    by_type = ", ".join(f"{type} {counts['found']} of {sum(counts.values())}" for type, counts in forgotten.items())
    return f"forgot {found} of {found + missing} listed ids ({by_type}); not found: {missing}"


def has_lists(context: Context) -> bool:
    return bool(_lists(context))


def made_with_present_lists(context: Context, run: Run, version: int) -> bool:
    """Whether a run's graph follows from the lists as they are now, by a `version` of partitioning.

    A file that is gone may have been one of a list, so then it does not.
    """
    record = run.record("partition")
    if record is None or record["parts"]["version"] != version:
        return False
    parts, graph = record["parts"], context.config.graph.model_dump(mode="json")
    sources = _lists(context)
    listed = [str(path) for name in sources for path in context.source_files[name]]
    same_files = all(parts["inputs"].get(path) == context.source_states[path] for path in listed)
    return (
        same_files
        and parts.get("ids") == key_of_ids(context.config.graph)
        and parts["inputs"].keys() <= context.source_states.keys()
        and _says(parts["config"], sources) == _says(graph, sources)
    )


def runs_with_other_lists(context: Context, but: Run, version: int) -> list[Run]:
    """Runs, other than one, with a stage that was made with other lists, or was interrupted."""
    return [
        run
        for run in context.workspace.runs()
        if run != but
        and any(run.directory(stage).exists() or run.partial(stage).exists() for stage in DIRECTORIES)
        and not made_with_present_lists(context, run, version)
    ]


def _lists(context: Context) -> list[str]:
    """The sources that list people."""
    graph = context.config.graph
    asked = [*(graph.consent_of(relation) for relation in graph.relations), graph.forget]
    return sorted({one.source for one in asked if one and one.source})


def _says(graph: dict[str, Any], sources: list[str]) -> list[Any]:
    """What a graph's config says of people."""
    found = [graph.get(key) for key in ("forget", "consent", "relations", "ids")]
    return [*found, *(graph["sources"].get(name) for name in sources)]
