"""The columns that a config names, looked up in the log before anything is made."""

from pathlib import Path

from artifacts.errors import ConfigError, DataError
from artifacts.section import did_you_mean
from artifacts.sources.stores import is_url
from ranker.config.sections import RankerConfig
from ranker.data.log.parts import file_parts
from ranker.data.log.schemas import require_counted


def named_columns(config: RankerConfig) -> dict[str, str]:
    """Every column that is read but for those of `where`, and the config path that names it."""
    columns = {config.time_column: "time_column"}
    for name in ("click", "conversion", "conversion_time"):
        if (column := getattr(config.labels, name)) is not None:
            columns[column] = f"labels.{name}"
    columns |= dict.fromkeys(map(config.stored, config.slots), "slots")
    columns |= dict.fromkeys(config.categoricals, "categoricals")
    columns |= {column: f"slots.{slot}.times" for slot, column in config.list_times.items()}
    as_text = {*config.slots, *config.categoricals}  # of those that are numbers as well, the kind matters
    columns |= {name: "numerics" for name in config.numerics if name not in as_text}
    for index, counted in enumerate(config.stored_counts):
        columns |= {name: f"counts[{index}]" for name in counted if columns.get(name, "numerics") == "numerics"}
    return columns


def unchecked(config: RankerConfig, root: Path) -> list[str]:
    """See `ranker.check_columns`."""
    if any(map(is_url, config.patterns)):
        return ["ranker, whose columns come from a store"]
    try:
        parts = file_parts(config, root)
    except DataError as error:
        return [f"ranker, whose columns come from the log ({error.lines[0]})"]
    require_counted(parts, config.stored_counts, config.count_features)
    known = {name for part in parts for name in part.columns}
    lines = [
        f"ranker.{where}: no column '{name}' in {parts[0].name}{did_you_mean(name, parts[0].columns)}"
        for name, where in named_columns(config).items()
        if name not in known  # one that a few files lack is not the config's fault: reading them says so
    ]
    if lines:
        raise ConfigError(*lines)
    return []
