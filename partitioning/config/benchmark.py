"""A folder of a knowledge-graph benchmark: the sources, the entity type and the relations that it stands for."""

from typing import Any

SPLITS = ("train", "valid", "test")
_COLUMNS = ["head", "relation", "tail"]
ENDINGS = "t[sx][vt]*"  # .tsv and .txt, also compressed


def benchmark_graph(directory: str) -> dict[str, Any]:
    """The keys of a graph section, as written, for `train`, `valid` and `test` in a directory: head, relation, tail."""
    sources = {
        split: {
            "path": f"{directory.rstrip('/')}/{split}.{ENDINGS}",
            "format": "tsv",
            "columns": _COLUMNS,
            "split": split,
        }
        for split in SPLITS
    }
    sides = {side: {"type": "entity", "column": column} for side, column in (("lhs", "head"), ("rhs", "tail"))}
    relations = [{"relation_column": "relation", "source": list(SPLITS), **sides}]
    return {"sources": sources, "entities": {"entity": {}}, "relations": relations}
