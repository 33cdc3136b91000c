"""The backend of a device with memory of its own: partitions, edges and relations lie there, and so do all draws.

    backend     what the loop sees
    room        how much of the device's memory a training takes
    copies      what comes in and goes out: pinned host memory, on a stream of its own
    tables      all partitions' slots in one table
    relations   the parameters of relations on the device
    sorted_edges, trainer    a segment's edges in batches, and their training
    step        a batch: draws, gathers, gradients by the torch twin of the fused kernels, Adagrad; on a card recorded
    adagrad     updates whose sums do not depend on the order in which a device adds

Everything runs on torch.device("cpu"), too: that is what tests hold it to autograd with where there is no card.
"""
