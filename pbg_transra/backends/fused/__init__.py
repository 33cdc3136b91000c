"""The fused batch processor: closed-form gradients of many edges at once, applied in place, without autograd.

    step        the mathematics' entrance: vectors and relations of a batch to its loss and gradients
    kernels     what costs time there, and which of its implementations runs:
                torch_kernels (with projection and products), and native_kernels, which calls kernels.cpp
    layout      where the vectors of a batch lie
    relations   the parameters of all relations in a few shared tensors
    processor   what training hands to its processes; worker is what it does there: draw, gather, step

Why compiled: on 2 cores at d=64, torch's operations reach 0.16 M edges/s of a processor second, compiled loops around
torch's matrix products 0.25 M, and a compiled step 0.56 M, where stock PyTorch-BigGraph does 0.12 to 0.15 M. Half of
that is products of matrices of this size, which MKL computes at half the speed of step.hpp on an AMD processor.
"""
