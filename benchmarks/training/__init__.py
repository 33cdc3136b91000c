"""Training: beside PyTorch-BigGraph, PyKEEN and the machine's peak, with files swapped, on several ranks."""
