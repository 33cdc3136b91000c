"""What a core of this machine can do at most for a training step, and what a step asks of it."""

import ctypes
import time

import torch

from pbg_transra.backends.fused.levels import library_path, possible_levels

REPEATS = 20
MULTIPLY_ADDS = 200_000  # loops of the peak's kernel in a measurement: a few milliseconds, hardly ever interrupted
TABLE, ROWS = 1 << 20, 4_000  # rows of a table that no cache holds, and of a step


def multiply_adds_per_edge(
    dimension: int, batch: int, batch_negatives: int, uniform_negatives: int, level: str
) -> float:
    """Of full batches of one relation, dot product, one projection: all matrix products of a step, forward and back.

    Projected rows are multiplied three times (forward, the gradient by the row, the one by the matrix). The compiled
    kernels join both sides' projections into one of the heads, for two products of matrices a batch.
    """
    rows = 1 + uniform_negatives / batch_negatives  # of a side, an edge
    pairs = batch_negatives + 2 * uniform_negatives
    sides, joined = (2, 0.0) if level == "torch" else (1, 2 * dimension**3 / batch)
    return 3 * (sides * rows * dimension**2 + pairs * dimension) + joined


def peak(level: str) -> float:
    """Multiply-adds of a core in registers, of single precision, in a second of processor time: the best of some.

    torch takes what the machine has.
    """
    path = library_path(possible_levels()[0] if level == "torch" else level)
    if path is None:
        return float("nan")
    multiply_adds = ctypes.CDLL(str(path)).multiply_adds_float
    multiply_adds.argtypes, multiply_adds.restype = [ctypes.c_int64], ctypes.c_int64
    rates = []
    for _ in range(REPEATS):
        start = time.process_time()
        done = multiply_adds(MULTIPLY_ADDS)
        rates.append(done / (time.process_time() - start))
    return max(rates)


def gather_rate(level: str, dimension: int) -> float:
    """Bytes of rows that lie anywhere in a table, copied by a core in a second of processor time: the best of some."""
    path, table = library_path(level), torch.zeros(TABLE, dimension)
    out, rates = torch.empty(ROWS, dimension), []
    gather = None if path is None else ctypes.CDLL(str(path)).gather_float
    for _ in range(REPEATS):
        rows = torch.randint(TABLE, (ROWS,))
        pointers = (ctypes.c_void_p(each.data_ptr()) for each in (table, rows, out))
        start = time.process_time()
        if gather is None:
            torch.index_select(table, 0, rows, out=out)
        else:
            first, second, into = pointers
            gather(first, second, ctypes.c_int64(ROWS), ctypes.c_int64(dimension), into)
        rates.append(out.nbytes / (time.process_time() - start))
    return max(rates)
