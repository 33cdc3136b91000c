"""Our config as the Python module that PyTorch-BigGraph's own programs read.

transra config pbg CONFIG -o pbg.py
torchbiggraph_eval pbg.py
torchbiggraph_export_to_tsv pbg.py --entities-output entities.tsv --relation-types-output relations.tsv
"""

from pathlib import Path
from pprint import pformat

from artifacts.formats.graph import edge_path, load_graph
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.operators import operator_name
from pbg_transra.pbg.schema import pbg_config

TEMPLATE = '''"""PyTorch-BigGraph's config of a trained model, for its own programs. Written by `transra config pbg`.
{remarks}"""

import sys

sys.path.append({root!r})

import pbg_transra.pbg.compat  # noqa: E402, F401  lets PBG read this config whatever else is imported
import pbg_transra.pbg.operators  # noqa: E402, F401  makes TransRA's operators known to PBG


def get_torchbiggraph_config():
    return {config}
'''
READ_ONLY = """
`checkpoint_path` is the finished model: to train with PBG itself, give a path of its own (-p checkpoint_path=...).
Another split: -p edge_paths=...
"""
ONE_SIDED = """
PBG applies an operator to the right side only. Without the left view of {operators}
its scores are not the model's: `transra evaluate` has those.
"""


def config_module(graph_dir: Path, model_dir: Path, model: ModelConfig, split: str) -> str:
    """Returns the text of a module with `get_torchbiggraph_config()`, plain paths and operators by registered name."""
    graph = load_graph(graph_dir)
    config = pbg_config(graph, graph_dir, str(model_dir), model, model.workers).to_dict()
    config["edge_paths"] = [str(edge_path(graph_dir, split))]
    ours = sorted(name for name in {operator_name(model, r) for r in graph.relations} if name.startswith("transra"))
    remarks = READ_ONLY + (ONE_SIDED.format(operators=", ".join(ours)) if ours else "")
    body = pformat(config, width=105, sort_dicts=False).replace("\n", "\n" + " " * len("    return "))
    root = str(Path(__file__).resolve().parents[2])
    return TEMPLATE.format(remarks=remarks, root=root, config=body)


def names_note(graph_dir: Path) -> str | None:
    """Returns a line when PBG's TSV export will not find the names of the entities."""
    for kind in load_graph(graph_dir).entity_types:
        for partition in range(kind.partitions):
            path = graph_dir / f"entity_names_{kind.name}_{partition}.json"
            if not path.exists():
                return (
                    f"{path}: not there, so torchbiggraph_export_to_tsv will fail; "
                    "set graph.write_names: true and partition again"
                )
    return None
