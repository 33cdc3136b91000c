"""The log's rows as plain columns, for models of another kind: cosines, matches, ages, degrees and counts."""
