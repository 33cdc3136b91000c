"""How far exported vectors may lie from what the ranker learned by before they stop paying: `make bench-gap`."""
