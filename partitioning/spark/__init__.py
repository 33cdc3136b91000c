"""A build on the executors of a Spark cluster: DuckDB reads each file, Spark shuffles, numpy makes each bucket."""
