"""One arm as a network: what it sees, attention over graph vectors, the backbone and its heads."""
