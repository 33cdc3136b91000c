"""What trains the edges of a bucket: autograd as the reference, fused kernels for speed."""
