"""What only the logs of the graph know, their columns and names of relations, looked up for `config check`."""

from artifacts.errors import ConfigError, DataError
from artifacts.sources.source_files import Files
from partitioning import check_schemas, relation_names
from pipeline.config.loading import problem_lines
from pipeline.workspace.context import Context


def check_names(context: Context) -> list[str]:
    """Compares what the model names with the relations that the sources hold; returns what could not be compared.

    Reads the column of names, and only where the config needs it. Raises ConfigError for a name that no relation has,
    and DataError for sources that cannot be read.
    """
    config = context.config
    if not config.names_from_data:
        return []
    try:
        files = _here(context)
    except DataError as error:
        return [f"model.anchors, relation_weights and freeze, whose names come from the data ({error.lines[0]})"]
    if lines := problem_lines(config.unknown_relations(relation_names(config.graph, files))):
        raise ConfigError(*lines)
    return []


def check_columns(context: Context) -> list[str]:
    """Compares the columns that `graph` names with those of its logs, by their schemas alone; returns what could not be
    compared. Raises ConfigError or DataError as the build would."""
    try:
        files = _here(context)
    except DataError as error:
        return [f"graph, whose columns come from the logs ({error.lines[0]})"]
    unread = check_schemas(context.config.graph, files, context.config.checks)
    return [f"the columns of {', '.join(unread)}, which only a build reads"] if unread else []


def _here(context: Context) -> dict[str, Files]:
    """The files of the sources. Raises DataError for those that are not there, or that would have to be fetched."""
    files = context.source_files
    if context.stores.unfetched([path for found in files.values() for path in found]) is not None:
        raise DataError("they would have to be fetched first")
    return files
