"""The exports that a ranking reads, checked before anything is made from them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from artifacts.formats.graph import load_graph
from artifacts.formats.run import EMBEDDINGS, EXPORT, GRAPH
from ranker.config.sections import ExpectedExport, RankerConfig

CHECK_ROWS = 1 << 16  # vectors looked at together


class Export(NamedTuple):
    """An HDF5 of vectors, and the last event (epoch seconds) that its graph was trained on; None without time.

    `graph` is the directory of that graph, if it is known.
    """

    path: Path
    window_end: int | None
    graph: Path | None = None

    @classmethod
    def of_run(cls, run: Path) -> "Export":
        """Raises DataError for a run whose export is broken, or of another graph than the run's."""
        run = run.resolve()  # `latest` may move meanwhile
        graph, path = load_graph(run / GRAPH), run / EXPORT / EMBEDDINGS
        Embeddings(path).require_fits(graph)
        return cls(path, graph.window[1], run / GRAPH)


def open_exports(exports: Mapping[str, Export], config: RankerConfig) -> dict[str, Embeddings]:
    """Opens exports by run name. Raises DataError when one is broken, not what is expected, or lacks a slot's type."""
    opened = {name: Embeddings(export.path) for name, export in exports.items()}
    lines = [line for export in opened.values() for line in _unexpected(export, config.expect)]
    types = {str(slot.type) for slot in config.graph_slots.values()}
    for export in opened.values():
        for name, slot in config.graph_slots.items():
            if slot.type not in export.types:
                known = ", ".join(export.types)
                lines.append(f"{export.path}: slot {name} needs entity type '{slot.type}' (exported: {known})")
        lines += _not_finite(export, sorted(types & set(export.types)))
    if lines:
        raise DataError(*lines)
    return opened


def _unexpected(export: Embeddings, expect: ExpectedExport) -> Iterable[str]:
    found = export.attributes
    anchors = None if expect.anchors is None else sorted(expect.anchors)
    for name, wanted, value in (
        ("dimension", expect.dimension, found["dimension"]),
        ("anchors", anchors, sorted(found["anchors"])),
        ("run", expect.run, found["run_id"]),
    ):
        if wanted is not None and wanted != value:
            yield f"{export.path}: {name} is {value!r}, expected {wanted!r} (ranker.expect.{name})"


def _not_finite(export: Embeddings, types: Iterable[str]) -> Iterable[str]:
    for name in types:
        vectors = export.vectors(name)
        for first in range(0, len(vectors), CHECK_ROWS):
            broken = ~np.isfinite(vectors[first : first + CHECK_ROWS]).all(axis=1)
            if broken.any():
                row = first + int(np.argmax(broken))
                yield f"{export.path}: /entities/{name}: the vector of '{export.id(name, row)}' is not finite"
                break
