"""Exported vectors asked for entities: items for users, neighbours, held-out edges among all."""
