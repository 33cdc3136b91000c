"""Faults at random moments of every stage: see `__main__`."""
