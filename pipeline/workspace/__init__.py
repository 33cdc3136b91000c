"""Runs on disk: where they lie, whose they are, who holds them, and what they were made from."""
