"""Counting on: what a graph with append-only sources keeps for the one that follows."""
