"""Everything of a model but its tables, exported: the part that a scorer runs."""

import io
from pathlib import Path

import torch
from torch import Tensor, nn

from ranker.data.batch import Batch
from ranker.data.ids.slots import Layout
from ranker.model.program import ATTENTION, write_program
from ranker.model.ranker_model import RankerModel
from ranker.model.tables.kge_table import KgeTable
from ranker.scoring.inputs import Inputs
from ranker.scoring.manifest import EXPORTED

ROWS, NAMED = 7, 11  # of the sizes that are traced with; no size of a layout is likely to be one of them


class _Given:
    """Where the modules that stand for tables find what a call has been given."""

    inputs: Inputs


class _GivenVectors(KgeTable):
    """The vectors of a call in place of those of a table."""

    def __init__(self, table: KgeTable, given: _Given) -> None:
        nn.Module.__init__(self)
        self.dimension, self.scales, self._given = table.dimension, table.scales, given
        self._frozen = {}

    def exported(self, entity_type: str, rows: Tensor) -> Tensor:
        vectors = self._given.inputs.vectors[entity_type]
        return vectors.index_select(0, rows.clamp(min=0).flatten()).view(*rows.shape, -1)


class _GivenIds(nn.Module):
    """The ID embeddings of a call."""

    def __init__(self, given: _Given) -> None:
        super().__init__()
        self._given = given

    def forward(self, hashes: Tensor) -> Tensor:
        return self._given.inputs.ids


class _GivenDegrees(dict[str, Tensor]):
    """The degrees of a call, by entity type."""

    def __init__(self, given: _Given) -> None:
        super().__init__()
        self._given = given

    def __getitem__(self, entity_type: str) -> Tensor:
        return self._given.inputs.degrees[entity_type]


class DensePart(nn.Module):
    """`Inputs` -> {task: (B,) logits}, and attention weights under names that begin with `attention.`."""

    def __init__(self, model: RankerModel) -> None:
        """Takes the model over: its tables are gone from it afterwards."""
        super().__init__()
        self.model, self._given = model, _Given()
        if model.ids is not None:
            model.ids = _GivenIds(self._given)  # type: ignore[assignment]  # stands for an IdEmbedding
        for part in (model.attention, model.concat):
            if part is not None:
                part.table = _GivenVectors(part.table, self._given)
        if model.degrees is not None:
            model.degrees._tables = _GivenDegrees(self._given)

    def forward(
        self,
        numerics: Tensor,
        categoricals: Tensor,
        hashes: Tensor,
        rows: Tensor,
        ages: Tensor,
        ids: Tensor,
        vectors: dict[str, Tensor],
        degrees: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        self._given.inputs = Inputs(numerics, categoricals, hashes, rows, ages, ids, vectors, degrees)
        unknown = hashes[:, 0]  # labels, which no model looks at
        batch = Batch(unknown, unknown, numerics, categoricals, hashes, rows, ages)
        logits, weights = self.model.with_attention(batch)
        return logits | {f"{ATTENTION}{name}": found for name, found in weights.items()}


def export_dense(model: RankerModel, layout: Layout, directory: Path) -> None:
    """Writes the dense part, by torch.export and as what a scorer runs, and takes the model over.

    Sizes of batches stay free.
    """
    example = _example(model, layout)
    free = {0: torch.export.Dim.DYNAMIC}
    shapes = tuple(dict.fromkeys(one, free) if isinstance(one, dict) else free for one in example)
    dense = DensePart(model.cpu().eval())
    with torch.no_grad():
        names = list(dense(*example))
        program = torch.export.export(dense, tuple(example), dynamic_shapes=shapes, strict=False)
    write_program(program, names, directory)
    whole = io.BytesIO()  # a write that fails would end the process by signal 6
    torch.export.save(program, whole)
    (directory / EXPORTED).write_bytes(whole.getbuffer())


def _example(model: RankerModel, layout: Layout) -> Inputs:
    """Any inputs of the model's widths."""
    tabular = model.tabular
    types = vector_types(model, layout)
    degrees = dict(sorted(degree_widths(model).items()))
    return Inputs(
        numerics=torch.zeros(ROWS, tabular.numerics),
        categoricals=torch.zeros(ROWS, len(tabular.embeddings), dtype=torch.int64),
        hashes=torch.ones(ROWS, layout.width, dtype=torch.int64),
        rows=torch.zeros(ROWS, layout.width, dtype=torch.int64),
        ages=torch.zeros(ROWS, layout.ages, dtype=torch.int64),
        ids=torch.zeros(ROWS, len(layout.slots), model.ids.dim if model.ids is not None else 0),
        vectors={name: torch.ones(NAMED + index, dimension) for index, (name, dimension) in enumerate(types.items())},
        degrees={
            name: torch.zeros(NAMED + index, width, dtype=torch.int32)
            for index, (name, width) in enumerate(degrees.items())
        },
    )


def vector_types(model: RankerModel, layout: Layout) -> dict[str, int]:
    """The entity types whose vectors the model reads, and the length of those."""
    if (table := table_of(model)) is None:
        return {}
    return dict.fromkeys(sorted({str(slot.type) for slot in layout.graph()}), table.dimension)


def degree_widths(model: RankerModel) -> dict[str, int]:
    """The entity types whose degrees the model reads, and how many each has."""
    return {} if model.degrees is None else {name: table.shape[1] for name, table in model.degrees._tables.items()}


def table_of(model: RankerModel) -> KgeTable | None:
    part = model.attention or model.concat
    return None if part is None else part.table
