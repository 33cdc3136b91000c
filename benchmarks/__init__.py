"""Benchmarks against peers, side by side on the same work. Nothing in the test suite asserts a time."""
