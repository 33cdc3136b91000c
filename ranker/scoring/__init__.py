"""Scores rows with a published model: features as in training, tables mapped, an exported network. Trains nothing."""
