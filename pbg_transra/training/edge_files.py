"""Reads the edges of a bucket, or a chunk of them, shuffled into shared memory."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import torch
from torchbiggraph.types import Bucket

from artifacts.graph import Graph, edge_path
from pbg_transra.training.tables import EdgeBuffer

COLUMNS = ("lhs", "rhs", "rel")
WEIGHTS = "weight"


@dataclass(frozen=True)
class EdgeFiles:
    """The training edges, bucket by bucket, each cut into `chunks` parts of nearly the same size.

    `counts`: edges of every bucket.
    """

    directory: Path
    chunks: int
    counts: dict[Bucket, int]

    def span(self, bucket: Bucket, chunk: int) -> tuple[int, int]:
        """Begin and end of a chunk, as PBG cuts them."""
        count = self.counts[bucket]
        return int(chunk * count / self.chunks), int((chunk + 1) * count / self.chunks)

    def size(self, bucket: Bucket, chunk: int) -> int:
        begin, end = self.span(bucket, chunk)
        return end - begin

    def pass_size(self, index: int) -> int:
        """Edges of a pass of the training, counted from 0."""
        return sum(self.size(bucket, index % self.chunks) for bucket in self.counts)

    def passes_size(self, passes: int) -> int:
        """Edges of the first passes together."""
        epochs, rest = divmod(passes, self.chunks)
        return epochs * sum(self.counts.values()) + sum(map(self.pass_size, range(rest)))

    def largest(self) -> int:
        """Edges that a buffer must hold."""
        return max(self.size(bucket, chunk) for bucket in self.counts for chunk in range(self.chunks))

    def load(self, bucket: Bucket, chunk: int, seed: int, buffer: EdgeBuffer) -> int:
        """Fills the buffer in an order that depends on the seed; returns the number of edges."""
        with h5py.File(self._path(bucket), "r") as file:
            begin, end = self.span(bucket, chunk)
            order = torch.randperm(end - begin, generator=torch.Generator().manual_seed(seed))
            for row, name in enumerate(COLUMNS):
                column = torch.from_numpy(file[name][begin:end])
                torch.index_select(column, 0, order, out=buffer.columns[row, : end - begin])
            if buffer.weights is not None:
                weights = torch.from_numpy(file[WEIGHTS][begin:end]) if WEIGHTS in file else torch.ones(end - begin)
                torch.index_select(weights.float(), 0, order, out=buffer.weights[: end - begin])
        return end - begin

    def _path(self, bucket: Bucket) -> Path:
        return bucket_path(self.directory, bucket)


def bucket_path(directory: Path, bucket: Bucket) -> Path:
    return directory / f"edges_{bucket.lhs}_{bucket.rhs}.h5"


def training_edges(graph_dir: Path, graph: Graph, chunks: int) -> EdgeFiles:
    directory, counts = edge_path(graph_dir, "train"), {}
    for lhs in range(graph.side_partitions("lhs")):
        for rhs in range(graph.side_partitions("rhs")):
            with h5py.File(bucket_path(directory, Bucket(lhs, rhs)), "r") as file:
                counts[Bucket(lhs, rhs)] = len(file["rel"])
    return EdgeFiles(directory, chunks, counts)
