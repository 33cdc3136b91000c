"""How much of a device's memory a training takes."""

from artifacts.formats.graph import Graph
from pbg_transra.backends.backend import SEGMENT, Capacity
from pbg_transra.config import ModelConfig

FLOAT, INTEGER = 4, 8  # bytes
WHILE_SORTED = 4  # integers an edge of a segment: the order, what sorting takes, rows that are checked
VECTORS, SCORES = 12, 16  # copies of a step's vectors and scores: buffers, gradients, what lies between operations
KEPT = 3  # steps whose buffers are there at once; more are small
LIBRARIES = 1 << 30  # bytes: products' work space and what the allocator leaves in pieces


def device_bytes(graph: Graph, config: ModelConfig, capacity: Capacity) -> int:
    """Slots with their Adagrad sums, edges of the buffers and, sorted, of a segment, relations, and steps."""
    row = (config.dimension + 1) * FLOAT
    slots = sum(capacity.slots[kind.name] * max(kind.counts) for kind in graph.entity_types) * row
    edge = 3 * INTEGER + (FLOAT if any(relation.weighted for relation in graph.relations) else 0)
    edge += 2 * FLOAT if config.regularization else 0
    edges = capacity.buffers * capacity.edges * edge
    segment = min(capacity.edges, SEGMENT) * (edge + WHILE_SORTED * INTEGER)
    relations = len(graph.relations) * 2 * config.dimension * (config.dimension + 1) * FLOAT * 2
    return slots + edges + segment + relations + KEPT * step_bytes(config) + LIBRARIES


def step_bytes(config: ModelConfig) -> int:
    """Of a full batch."""
    piece = config.batch_negatives or min(config.uniform_negatives, config.batch_size)
    groups = -(-config.batch_size // piece)
    rows = 2 * (config.batch_size + groups * config.uniform_negatives)
    scores = config.batch_size * (2 * config.batch_negatives + 2 * config.uniform_negatives)
    return (VECTORS * rows * config.dimension + SCORES * scores) * FLOAT
