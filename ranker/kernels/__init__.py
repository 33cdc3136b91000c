"""What costs time in the ranker's network, compiled: called from torch, with gradients in closed form."""
