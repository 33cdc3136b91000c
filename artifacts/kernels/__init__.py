"""What the compiled kernels of training and of the ranker share: registers, products, and which level runs."""
