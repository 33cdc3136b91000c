"""Tables whose rows are spread over the processes: each holds a block of consecutive ones, the first the first."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed

from ranker.processes.group import count, place, reaching

CHUNK_BYTES = 1 << 24  # of a table that pass at once on its way to a file


def block_of(rows: int, of: int | None = None) -> range:
    """The rows that the `of`-th process holds (this one); the last ones may hold fewer, or none."""
    size = -(-rows // count())
    first = min((place() if of is None else of) * size, rows)
    return range(first, min(first + size, rows))


class Request(NamedTuple):
    """Rows that this process wants of all blocks, and those that all processes want of its own."""

    asked: Tensor  # (A,) of its own block, those of the first process first
    wanted: list[int]  # of each process, how many rows this one wants of its block
    given: list[int]  # to each process, how many of `asked`

    @classmethod
    @reaching()
    def of(cls, wanted: Tensor, rows: int) -> "Request":
        """`wanted` (W,), ascending, of a table with so many rows. All processes must ask together."""
        ends = torch.tensor([block_of(rows, one).stop for one in range(count())], device=wanted.device)
        counts = torch.searchsorted(wanted, ends).diff(prepend=ends.new_zeros(1))
        given = torch.empty_like(counts)
        distributed.all_to_all_single(given, counts)
        to, of_each = given.tolist(), counts.tolist()
        asked = wanted.new_empty(sum(to))
        distributed.all_to_all_single(asked, wanted, to, of_each)
        return cls(asked - block_of(rows).start, of_each, to)

    @reaching()
    def answered(self, values: Tensor) -> Tensor:
        """What stands in the `asked` rows (A, D) of each process -> what stands in the wanted ones (W, D)."""
        found = values.new_empty(sum(self.wanted), values.shape[1])
        distributed.all_to_all_single(found, values.contiguous(), self.wanted, self.given)
        return found

    @reaching()
    def returned(self, values: Tensor) -> Tensor:
        """The way back: of each process's wanted rows (W, D) -> of this one's `asked` rows (A, D)."""
        found = values.new_empty(len(self.asked), values.shape[1])
        distributed.all_to_all_single(found, values.contiguous(), self.given, self.wanted)
        return found


@contextmanager
def whole(blocks: Mapping[str, tuple[Tensor, int]], directory: Path) -> Iterator[dict[str, Tensor]]:
    """In the first process whole tables (N, ...), made of everyone's blocks and their N; in the others, which must take
    part, nothing. They lie in files of `directory` without a name, not in memory, and are gone after the block.
    Raises OSError.
    """
    if count() == 1:
        yield {name: block for name, (block, _) in blocks.items()}
        return
    with ExitStack() as files:
        found = {}
        for name, (block, rows) in blocks.items():
            if place() > 0:
                _send(block)
            elif rows:
                file = files.enter_context(tempfile.TemporaryFile(dir=directory))
                found[name] = _written(file, block, rows)
        yield found


@reaching()
def _send(block: Tensor) -> None:
    for piece in _pieces(len(block), block):
        distributed.send(block[piece].cpu(), 0)


@reaching()
def _written(file: IO[bytes], own: Tensor, rows: int) -> Tensor:
    """A table, mapped from the file: the own block, and what the other processes send of theirs."""
    for piece in _pieces(len(own), own):
        file.write(own[piece].cpu().numpy().data)
    for other in range(1, count()):
        for piece in _pieces(len(block_of(rows, other)), own):
            received = torch.empty(piece.stop - piece.start, *own.shape[1:], dtype=own.dtype)
            distributed.recv(received, other)
            file.write(received.numpy().data)
    file.flush()
    # Mapped for writing to a copy: torch takes no array that cannot be written.
    dtype = torch.empty(0, dtype=own.dtype).numpy().dtype
    return torch.from_numpy(np.memmap(file, dtype, "c", shape=(rows, *own.shape[1:])))


def _pieces(rows: int, like: Tensor) -> list[slice]:
    """Of so many rows, those that pass at once."""
    at_once = max(CHUNK_BYTES // (like.element_size() * max(like.shape[1:].numel(), 1)), 1)
    return [slice(first, min(first + at_once, rows)) for first in range(0, rows, at_once)]
