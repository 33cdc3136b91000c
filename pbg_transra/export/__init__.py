"""A trained checkpoint, written out for its readers."""
