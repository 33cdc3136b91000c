"""What a ranking needs, from the config, the rows of the log and the sizes of the exports: refused before it begins."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from artifacts.embeddings import Embeddings
from artifacts.resources import require_disk, require_memory
from artifacts.source_files import Files
from ranker.config.sections import RankerConfig
from ranker.data.log import ImpressionLog
from ranker.data.records import record_type
from ranker.data.slots import Layout
from ranker.data.transforms import VOCABULARY

PROCESS = 500 << 20  # bytes: torch, Arrow and a block of the log
FLOAT = 4
STATES = 4  # copies of a network's numbers: values, gradients and two moments of AdamW
TABULAR_DIM = 8  # of a categorical's embedding
BUFFERS = 3  # copies of the rows among which the order is shuffled, while they are


@dataclass(frozen=True)
class Plan:
    """Estimates in bytes: memory of the largest arm while it trains, and disk of the prepared log and its trainings."""

    memory: int
    disk: int

    def require(self, directory: Path) -> None:
        """Raises ResourceError when they cannot be had."""
        require_memory(self.memory, "rank", "lower ranker.ids.rows, ranker.backbone or ranker.training.buffer_rows")
        require_disk(directory, self.disk, "rank")


def plan_ranking(config: RankerConfig, root: Path, paths: Iterable[Path], files: Files | None) -> Plan:
    """Estimates a ranking with the exports at `paths`. Raises DataError for a log or an export that is broken."""
    exports = [Embeddings(path) for path in paths]
    rows = ImpressionLog(config, root, files=files).rows
    record = record_type(
        len(config.numerics), len(config.categoricals), len(config.segments), Layout.of(config).width, len(exports)
    ).itemsize
    arms = [_arm(config, name, exports) for name in config.arms]
    tables, networks = max(tables for tables, _ in arms), max(network for _, network in arms)
    weights = sum(tables // 2 + network for tables, network in arms)
    left = len(config.training.seeds) * len(config.labels.tasks) * max(len(exports), 1) * weights
    buffer = BUFFERS * record * min(config.training.buffer_rows, rows)
    return Plan(
        memory=PROCESS + tables + STATES * networks + buffer,
        # Where a training stands, once more while that is replaced, and the weights that every training leaves.
        disk=rows * record + 2 * (tables // 2 + (STATES - 1) * networks) + left,
    )


def _arm(config: RankerConfig, name: str, exports: list[Embeddings]) -> tuple[int, int]:
    """Bytes of an arm's tables, with their row sums and twice while they are made, and of its network."""
    arm, layout, ids = config.arms[name], Layout.of(config), config.ids
    dimension = max((export.dimension for export in exports), default=0)
    tables = 2 * ids.rows * (ids.dim + 1) * FLOAT if arm.ids else 0
    if arm.vectors != "none" and arm.finetune:
        types = {slot.type for slot in layout.graph()}
        counts = (sum(export.count(type) for type in types if type) for export in exports)
        tables += 2 * max(counts, default=0) * (dimension + 1) * FLOAT
    width = (TABULAR_DIM * len(config.categoricals)) + 2 * len(config.numerics)
    width += ids.dim * len(layout.slots) if arm.ids else 0
    network = TABULAR_DIM * VOCABULARY * len(config.categoricals)
    if arm.vectors == "attention":
        graph = len(layout.graph())
        width += graph * config.attention.width
        network += graph * config.attention.width * (dimension + 4 * config.attention.width)
    elif arm.vectors == "concat":
        width += len(layout.graph()) * dimension
    return tables, FLOAT * (network + _backbone(config, width))


def _backbone(config: RankerConfig, width: int) -> int:
    """Numbers of the cross layers and of the perceptrons."""
    cross = 2 * config.backbone.cross_layers * width * min(config.backbone.cross_rank, width)
    widths = [width, *config.backbone.hidden]
    perceptron = sum(before * after for before, after in zip(widths, widths[1:], strict=False))
    return cross + perceptron * (config.heads.experts if config.heads.kind == "mmoe" else 1)
