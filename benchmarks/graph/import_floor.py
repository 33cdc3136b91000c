"""The floor of graph construction: raw DuckDB doing only what must be done, a statement each.

    python -m benchmarks.graph.import_floor edges.tsv out --partitions 4
    python -m benchmarks.graph.import_floor "log/*.parquet" out --partitions 4 --heads user --tails ad

Read, distinct ids, join, sort by bucket, write. No portable hash, no checks, no shuffle within buckets, no counts, no
statistics, nothing that PBG could read: what a build on DuckDB can hardly be faster than. `make bench-import` times
it as a whole process, as it times ours.
"""

import argparse
from collections.abc import Iterator

import duckdb


def statements(options: argparse.Namespace) -> Iterator[str]:
    """`ids` has a number for each id: partition by a hash, place by order of appearance."""
    source, same = options.source, not options.heads
    if same:  # a TSV of head, relation, tail; both ends are of one type
        columns = "{'head': 'VARCHAR', 'relation': 'VARCHAR', 'tail': 'VARCHAR'}"
        read = f"SELECT head, tail FROM read_csv('{source}', delim = '\t', header = false, columns = {columns})"
    else:
        read = f"SELECT {options.heads} AS head, {options.tails} AS tail FROM read_parquet('{source}')"
    yield f"CREATE TABLE log AS {read}" if same else f"CREATE VIEW log AS {read}"  # of text, parsing is done once
    ends = {"ids": "SELECT head AS id FROM log UNION ALL SELECT tail FROM log"}
    if not same:
        ends = {"heads": "SELECT head AS id FROM log", "tails": "SELECT tail AS id FROM log"}
    for table, ids in ends.items():
        yield f"CREATE TABLE {table} AS SELECT DISTINCT id, hash(id) % {options.partitions} AS part FROM ({ids})"
        yield f"COPY (SELECT id FROM {table}) TO '{options.out}/{table}.parquet'"
    heads, tails = list(ends)[0], list(ends)[-1]
    yield (
        f"COPY (SELECT l.part * {options.partitions} + r.part AS bucket, l.rowid AS lhs, r.rowid AS rhs FROM log "
        f"JOIN {heads} l ON l.id = head JOIN {tails} r ON r.id = tail ORDER BY bucket) "
        f"TO '{options.out}/edges.parquet' (COMPRESSION uncompressed)"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("source")
    arguments.add_argument("out")
    arguments.add_argument("--partitions", type=int, default=4)
    arguments.add_argument("--heads", help="column of a Parquet source; without, the source is a TSV")
    arguments.add_argument("--tails")
    arguments.add_argument("--memory-limit", default="6GB")
    arguments.add_argument("--threads", type=int)
    options = arguments.parse_args()
    connection = duckdb.connect()
    connection.execute(f"SET memory_limit = '{options.memory_limit}'; SET temp_directory = '{options.out}/spill'")
    connection.execute("SET preserve_insertion_order = false")
    if options.threads:
        connection.execute(f"SET threads = {options.threads}")
    for statement in statements(options):
        connection.execute(statement)


if __name__ == "__main__":
    main()
