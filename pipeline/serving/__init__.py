"""`transra serve`: a read-only page and JSON API over the published run."""
