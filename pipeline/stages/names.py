"""Names of relations that only the data knows, looked up for `config check`."""

from artifacts.errors import ConfigError, DataError
from partitioning import relation_names
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
        files = context.source_files
        paths = [path for found in files.values() for path in found]
        if context.stores.unfetched(paths) is not None:
            raise DataError("they would have to be fetched first")
    except DataError as error:
        return [f"model.anchors, relation_weights and freeze, whose names come from the data ({error.lines[0]})"]
    if lines := problem_lines(config.unknown_relations(relation_names(config.graph, files))):
        raise ConfigError(*lines)
    return []
