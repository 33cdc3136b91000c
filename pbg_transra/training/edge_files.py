"""Reads the edges of a bucket, or a chunk of them, shuffled into the memory of a backend."""

from dataclasses import dataclass
from pathlib import Path

import torch

from artifacts.formats.bucket_file import COLUMNS, BucketFile
from artifacts.formats.graph import Bucket, Graph, bucket_path
from pbg_transra.backends.edges import Edges
from pbg_transra.training.regularization import DegreeDecays


@dataclass(frozen=True)
class EdgeFiles:
    """The training edges, bucket by bucket, each cut into `chunks` parts of nearly the same size.

    `counts`: edges of every bucket. `decays`: where regularization is scaled by degree; without them it is not.
    """

    graph_dir: Path
    chunks: int
    counts: dict[Bucket, int]
    decays: DegreeDecays | None = None

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

    def load(self, bucket: Bucket, chunk: int, seed: int, into: Edges) -> None:
        """Fills `into`, which holds the chunk's edges, in an order that depends on the seed."""
        columns = dict(zip(COLUMNS, (into.heads, into.tails, into.relations), strict=True))
        with BucketFile(bucket_path(self.graph_dir, "train", bucket)) as file:
            begin, end = self.span(bucket, chunk)
            order = torch.randperm(end - begin, generator=torch.Generator().manual_seed(seed))
            for name, column in columns.items():
                torch.index_select(torch.from_numpy(file.column(name, begin, end)), 0, order, out=column)
            if into.weights is not None:
                found = file.weights(begin, end)
                weights = torch.ones(end - begin) if found is None else torch.from_numpy(found)
                torch.index_select(weights, 0, order, out=into.weights)
        if into.decays is not None:
            if self.decays is None:
                into.decays.fill_(1)
            else:
                self.decays.fill(bucket, into.relations, into.heads, into.tails, into.decays)


def training_edges(graph_dir: Path, graph: Graph, chunks: int) -> EdgeFiles:
    counts = {}
    for bucket in graph.buckets():
        with BucketFile(bucket_path(graph_dir, "train", bucket)) as file:
            counts[bucket] = len(file)
    return EdgeFiles(graph_dir, chunks, counts)
