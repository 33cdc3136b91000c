"""SQL expressions of the config over the columns of a row: parsed, their types checked, run on a locked DuckDB."""
