"""Who reads events and makes buckets: the seams of a build, and DuckDB and Spark behind them."""
