"""Operators beside each other on the data sets of `configs/experiments/` (`make experiments`)."""
