"""Files as tables that DuckDB scans: found, checked, and named in errors."""
