"""The fused batch processor: closed-form gradients of many edges at once, applied in place, without autograd.

`step` holds the mathematics, `projection` the way into a relation's space and back; what is not a matrix product is in
`torch_kernels`, and compiled in `kernels.cpp`; `processor` is what PyTorch-BigGraph calls.
"""
