"""How large an export becomes."""

from pathlib import Path

from artifacts.embeddings.index import index_bytes
from artifacts.formats.graph import Graph, load_graph
from pbg_transra.config import ExportConfig, ModelConfig
from pbg_transra.degrees import degree_names
from pbg_transra.export.blocks import label_bytes

WIDTH = {"hdf5": 4, "parquet": 4, "tsv": 12, "faiss": 4}  # bytes of a component
ENTITY, DEGREE, OFFSET = 64, 4, 8  # bytes of an id with its index, of a count, and of where a label begins


def export_bytes(graph_dir: Path, model: ModelConfig, export: ExportConfig) -> int:
    """About how much disk an export takes."""
    graph = load_graph(graph_dir)
    labels = [(kind.count, label_bytes(graph_dir, kind)) for kind in graph.entity_types]
    return size_of(graph, model, export) + sum(OFFSET * count + size for count, size in labels if size is not None)


def size_of(graph: Graph, model: ModelConfig, export: ExportConfig) -> int:
    """The same of a graph that need not be there."""
    components = graph.entities * model.dimension
    counts = sum(kind.count * len(degree_names(graph, kind)) for kind in graph.entity_types) * export.degrees
    return sum(WIDTH[kind] for kind in export.formats) * components + ENTITY * graph.entities + DEGREE * counts


def export_memory(graph_dir: Path, model: ModelConfig, export: ExportConfig) -> int:
    """Memory that grows with the graph: an index holds the vectors of its type while it is made."""
    if "faiss" not in export.formats:
        return 0
    return max(index_bytes(kind.count, model.dimension) for kind in load_graph(graph_dir).entity_types)
