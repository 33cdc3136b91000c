"""Edges and entities that the config leaves out: hub caps and minimum degrees."""
