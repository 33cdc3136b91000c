"""One page of HTML for each run, made from its records, its log and its export; no stage is imported."""
