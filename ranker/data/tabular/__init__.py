"""Categoricals and numerics as the model sees them, counts of earlier days among them."""
