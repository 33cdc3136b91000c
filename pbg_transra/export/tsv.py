"""An export as text, in the layout of PyTorch-BigGraph's own TSV export.

`entities.tsv` holds `name<TAB>v1<TAB>...`, without a column for the type (types follow each other in the graph's
order), and `relations.tsv` holds `name<TAB>rhs<TAB>operator<TAB>parameter<TAB>shape<TAB>v1<TAB>...`. A tab, line
break or backslash in a name is written as \\t, \\n, \\r, \\\\.
"""

from pathlib import Path
from typing import TextIO

from artifacts.formats.graph import Graph
from pbg_transra.config import ModelConfig
from pbg_transra.export.blocks import Block
from pbg_transra.pbg.checkpoint import Checkpoint
from pbg_transra.pbg.operators import operator_name

ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def write_entities_tsv(file: TextIO, block: Block) -> None:
    row_format = "%s" + "\t%.9f" * block.vectors.shape[1] + "\n"
    for name, row in zip(block.ids.to_pylist(), block.vectors.tolist(), strict=True):
        file.write(row_format % (name.translate(ESCAPES), *row))


def write_relations_tsv(path: Path, graph: Graph, checkpoint: Checkpoint, model: ModelConfig) -> None:
    with path.open("x", encoding="utf-8") as file:
        for index, relation in enumerate(graph.relations):
            for name, values in checkpoint.relation_parameters(index).items():
                shape = "x".join(str(length) for length in values.shape)
                key = (relation.name.translate(ESCAPES), "rhs", operator_name(model, relation), name, shape)
                file.write("\t".join([*key, *(f"{value:.9f}" for value in values.ravel().tolist())]) + "\n")
