"""The newest impressions of a user and of an ad in a log, found in one pass."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from artifacts.errors import ConfigError, DataError
from ranker.data.log.where import Where

Row = dict[str, Any]


def newest(
    paths: Sequence[Path],
    columns: Sequence[str],
    time: str,
    user: tuple[str, str],
    ad: tuple[str, str],
    where: Where | None = None,
) -> tuple[Row | None, Row | None, Row | None]:
    """The newest row of both, that of the user and that of the ad, each None where there is none.

    `user` and `ad` are a column and an id, as text. Rows stream, and those of neither stay where they are; those that
    `where` leaves out are no impressions. Raises ConfigError for columns that the log lacks, and DataError for files
    that cannot be read.
    """
    found: list[tuple[Any, Row] | None] = [None, None, None]
    try:
        log = ds.dataset(list(map(str, paths)), format="parquet")
        wanted = list(dict.fromkeys([*columns, time, user[0], ad[0], *(where.types if where else ())]))
        if lacking := [f"'{name}'" for name in wanted if name not in log.schema.names]:
            raise ConfigError(f"the ranker's log has no column {', '.join(lacking)}, which the scorer reads")
        ids = [pc.field(column).cast(pa.large_string()) == id for column, id in (user, ad)]
        conditions = (ids[0] & ids[1], ids[0], ids[1])
        with ExitStack() as stack:
            holds = stack.enter_context(where.opened()) if where else None
            for batch in log.to_batches(columns=wanted, filter=ids[0] | ids[1]):
                rows = pa.Table.from_batches([batch])
                if holds is not None:
                    rows = rows.filter(pa.array(holds(rows, lambda mask: str(paths[0].parent))))
                for at, condition in enumerate(conditions):
                    found[at] = _newer(found[at], rows.filter(condition), time)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{paths[0]}: cannot be searched ({' '.join(str(error).split())})") from error
    both, of_user, of_ad = (None if one is None else one[1] for one in found)
    return both, of_user, of_ad


def _newer(before: tuple[Any, Row] | None, rows: pa.Table, time: str) -> tuple[Any, Row] | None:
    """The last of the rows with the greatest time, unless there was a newer one before."""
    if not len(rows) or (latest := pc.max(rows[time]).as_py()) is None:
        return before
    if before is not None and before[0] > latest:
        return before
    at = pc.index_in(pa.scalar(latest, rows[time].type), rows[time]).as_py()
    return latest, rows.slice(at, 1).to_pylist()[0]
