"""The fused batch processor: closed-form gradients of many edges at once, applied in place, without autograd.

    kernels     a step, which is a batch and the tables that it moves, as a Protocol:
                native_kernels calls kernels.cpp as compiled for a level of instructions, once a batch;
                torch_kernels says the same in torch (step, with projection, products and scores)
    setting     what steps are given beside their batches
    levels      which level that is
    batches     what a batch is; layout says where torch_kernels has its vectors
    relations   the parameters of all relations in a few shared tensors
    processor   what training hands to its processes; worker is what it does there: draw, step

Why compiled: see "Training speed" in docs/results.md. torch multiplies matrices of these sizes at half of what the
processor can do, its other operations go through memory once each, and each of its calls takes as long as a small
product.
"""
