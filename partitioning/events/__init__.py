"""Which rows of a source are edges: relations, consent, times, weights, look-ups, forgetting."""
