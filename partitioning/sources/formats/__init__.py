"""A format a file: Parquet, CSV and TSV, JSON lines, SQLite, PostgreSQL, tables in memory."""
