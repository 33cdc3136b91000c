"""What a ranking needs, from the config, the rows of the log and the sizes of the exports: refused before it begins.

Memory is that of the largest of three steps, above what the process takes by itself: a block of the log is encoded, an
arm is trained, its predictions are judged. Counts of copies were measured (docs/results.md, "Memory").
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from artifacts.embeddings import Embeddings
from artifacts.machine.resources import require_disk, require_memory
from artifacts.sources.source_files import Files
from ranker.config.sections import RankerConfig
from ranker.data.ids.slots import Layout
from ranker.data.log.impression_log import BLOCK_ROWS, ImpressionLog
from ranker.data.records import record_type
from ranker.data.tabular.count_log import COLLECTED, LEAST_RUN
from ranker.data.tabular.count_table import ROW_BYTES
from ranker.data.tabular.transforms import VOCABULARY

PROCESS = 400 << 20  # bytes: torch, Arrow and what both keep
FLOAT = 4
STATES = 4  # copies of a network's numbers: values, gradients and two moments of AdamW
TABULAR_DIM = 8  # of a categorical's embedding
NUMBER_DIM = 18  # what a number becomes: itself, its ramps, and a flag where some are missing
LIST_DIM = 24  # about what a list says beside its pooled vector
BUFFERS = 3  # copies of the rows among which the order is shuffled, while they are
TOKEN = 80  # bytes of an id of a block, while it is looked up: text, code, places, hash and row
CROSSED = 2  # copies of a cross layer's outputs in a step
ACTIVATIONS = 4  # copies of a layer's outputs in a step: before and after its activation, dropped out, their gradients
ADAPTED = 10  # copies of an adapted vector: it is gated, matched, attended to and summed up
LISTED = 3  # copies of a list's vectors: read, scaled, normed
ATTENDED = 5  # copies of the weights of a list
HASHED = 32  # bytes of an id and hash in a step, while its row in the table is found
COUNTED = 2 * ROW_BYTES  # of a row and count on disk, where hardly any two share a value: collected, then in a table
COUNTING = 2 * ROW_BYTES  # of a row that is collected, while it is sorted
JUDGED, JUDGED_SEED = 128, 16  # bytes of a test row while an arm is judged, and those of each seed
TEST_SHARE = 0.2  # of the log, where the config gives moments


@dataclass(frozen=True)
class Plan:
    """Estimates in bytes: memory of the largest step, and disk of the prepared log and its trainings."""

    memory: int
    disk: int

    def require(self, directory: Path) -> None:
        """Raises ResourceError when they cannot be had."""
        hint = "lower ranker.ids.rows, ranker.backbone, ranker.training.batch_size or ranker.training.buffer_rows"
        require_memory(self.memory, "rank", hint)
        require_disk(directory, self.disk, "rank")


@dataclass(frozen=True)
class ArmSize:
    """Bytes of an arm's tables with their row sums, of its network, and of a row of a batch on its way through it.

    Tables are made in their place, and files of them are mapped: those pages are given back where memory is short.
    """

    tables: int
    network: int
    row: int


def plan_ranking(config: RankerConfig, root: Path, paths: Iterable[Path], files: Files | None) -> Plan:
    """Estimates a ranking with the exports at `paths`. Raises DataError for a log or an export that is broken."""
    return plan_rows(config, ImpressionLog(config, root, files=files).rows, [Embeddings(path) for path in paths])


def plan_rows(config: RankerConfig, rows: int, exports: Sequence[Embeddings]) -> Plan:
    """Estimates a ranking of a log of so many rows, which are all taken for impressions."""
    layout, training = Layout.of(config), config.training
    columns = (len(config.numerics) + len(config.count_features), len(config.categoricals), len(config.segments))
    record = record_type(*columns, layout.width, layout.ages, len(exports)).itemsize
    arms = [_arm(config, name, exports) for name in config.arms]
    block = max(min(BLOCK_ROWS, rows) * (record + TOKEN * layout.width), _counting(len(config.counts), rows))
    batch = max(training.batch_size or training.chosen_batch_size(rows), layout.predicted_rows)
    largest = max(arm.tables + STATES * arm.network + min(batch, rows) * arm.row for arm in arms)
    trained = largest + BUFFERS * record * min(training.buffer_rows, rows)
    judged = int(rows * (config.split.test or TEST_SHARE)) * (JUDGED + JUDGED_SEED * len(training.seeds))
    states = max(arm.tables + (STATES - 1) * arm.network for arm in arms)
    left = sum(arm.tables + arm.network for arm in arms)
    trainings = len(training.seeds) * len(config.labels.tasks) * max(len(exports), 1)
    prepared = record + COUNTED * len(config.counts)
    return Plan(
        memory=PROCESS + max(block, trained, judged),
        # Where a training stands, once more while that is replaced, and the weights that every training leaves.
        disk=rows * prepared + 2 * states + trainings * left,
    )


def _counting(counts: int, rows: int) -> int:
    """Bytes of what is collected: a row is counted twice at most, as an impression and once its conversion is known."""
    tables = counts + 1
    run = max(COLLECTED // tables, LEAST_RUN)
    return COUNTING * tables * min(run + 2 * BLOCK_ROWS, 2 * rows) if counts else 0


def _arm(config: RankerConfig, name: str, exports: Sequence[Embeddings]) -> ArmSize:
    arm, layout, ids = config.arms[name], Layout.of(config), config.ids
    dimension = max((export.dimension for export in exports), default=0)
    tables = ids.rows * (ids.dim + 1) * FLOAT if arm.ids else 0
    if arm.vectors != "none" and arm.finetune:
        types = {slot.type for slot in layout.graph()}
        counts = (sum(export.count(type) for type in types if type) for export in exports)
        tables += max(counts, default=0) * (dimension + 1) * FLOAT
    width = TABULAR_DIM * len(config.categoricals) + NUMBER_DIM * (len(config.numerics) + len(config.count_features))
    width += LIST_DIM * sum(slot.is_list for slot in layout.slots)
    tabular = width
    width += ids.dim * len(layout.slots) if arm.ids else 0
    network, row = TABULAR_DIM * VOCABULARY * len(config.categoricals), HASHED * ids.hashes * layout.width * arm.ids
    graph = len(layout.graph())
    if arm.vectors == "attention":
        width += graph * config.attention.width
        network += graph * config.attention.width * (dimension + 4 * config.attention.width)
        row += FLOAT * _attention(config, layout, dimension)
    elif arm.vectors == "concat":
        width += graph * dimension
        row += FLOAT * LISTED * dimension * sum(slot.width for slot in layout.graph())
    branches = [width, tabular] if width > tabular else [width]
    numbers, outputs = map(sum, zip(*(_backbone(config, one) for one in branches), strict=True))
    return ArmSize(tables, FLOAT * (network + numbers), row + FLOAT * outputs)


def _attention(config: RankerConfig, layout: Layout, dimension: int) -> int:
    """Numbers that a row leaves on its way through the attention."""
    listed = sum(slot.width for slot in layout.graph())
    weights = ATTENDED * config.attention.heads * listed
    return ADAPTED * config.attention.width * len(layout.graph()) + LISTED * dimension * listed + weights


def _backbone(config: RankerConfig, width: int) -> tuple[int, int]:
    """Numbers of the cross layers and of the perceptrons, and of the copies of what they put out for a row."""
    backbone, experts = config.backbone, config.heads.experts if config.heads.kind == "mmoe" else 1
    cross = 2 * backbone.cross_layers * width * min(backbone.cross_rank, width)
    widths = [width, *backbone.hidden]
    perceptron = sum(before * after for before, after in zip(widths, widths[1:], strict=False))
    outputs = CROSSED * (1 + backbone.cross_layers) * width + ACTIVATIONS * experts * sum(backbone.hidden)
    return cross + perceptron * experts, outputs
