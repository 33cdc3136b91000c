"""The parts of `make bench-rank`: rows that all read, our models and the peers, and what they score."""
