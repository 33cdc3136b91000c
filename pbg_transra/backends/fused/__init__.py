"""The fused batch processor: closed-form gradients of many edges at once, applied in place, without autograd.

    step        the mathematics' entrance: vectors and relations of a batch to its loss and gradients
    kernels     what costs time there, as a Protocol: torch_kernels (with projection and products), and
                native_kernels, which calls kernels.cpp as compiled for a level of instructions
    levels      which level that is
    layout      where the vectors of a batch lie
    relations   the parameters of all relations in a few shared tensors
    processor   what training hands to its processes; worker is what it does there: draw, gather, step

Why compiled: see "Training speed" in docs/results.md. torch multiplies matrices of these sizes at half of what the
processor can do, and its other operations go through memory once each.
"""
