"""Stages are brought up to date in runs, runs are published or rejected, and the rest is removed."""
