"""What stages hand on in a run: the graph and its buckets, and where readers find what."""
