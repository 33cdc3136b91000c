"""Graph construction: beside PyTorch-BigGraph's importer, raw DuckDB and Spark, and as it grows."""
