"""Checkpoints of stock PyTorch-BigGraph for our small graphs."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adagrad
from torchbiggraph.checkpoint_manager import CheckpointManager
from torchbiggraph.config import ConfigSchema
from torchbiggraph.model import MultiRelationEmbedder, make_model
from torchbiggraph.row_adagrad import RowAdagrad

from artifacts.formats.graph import Graph, edge_path

D = 8
Config = dict[str, Any]


def stock_config(graph: Graph, graph_dir: Path, checkpoint: Path, operators: tuple[str, ...], **more: Any) -> Config:
    return {
        "entities": {kind.name: {"num_partitions": kind.partitions} for kind in graph.entity_types},
        "relations": [
            {"name": relation.name, "lhs": relation.lhs, "rhs": relation.rhs, "operator": operator}
            for relation, operator in zip(graph.relations, operators, strict=True)
        ],
        "dimension": D,
        "entity_path": str(graph_dir),
        "edge_paths": [str(edge_path(graph_dir, "train"))],
        "checkpoint_path": str(checkpoint),
        "comparator": "squared_l2",
        **more,
    }


def write_stock(config: Config, graph: Graph) -> tuple[MultiRelationEmbedder, dict[tuple[str, int], Tensor]]:
    """Writes a checkpoint as PBG's training does, of random numbers; returns its model and its tables."""
    schema = ConfigSchema.from_dict(config)
    model, manager = make_model(schema), CheckpointManager(config["checkpoint_path"])
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    optimizer = Adagrad(model.parameters(), lr=0.5) if list(model.parameters()) else None
    for values in (optimizer.state[p]["sum"] for p in model.parameters()) if optimizer else ():
        values.uniform_(1, 2)
    tables = {}
    for kind in graph.entity_types:
        for partition, count in enumerate(kind.counts):
            table = tables[kind.name, partition] = nn.Parameter(torch.randn(count, config["dimension"]))
            rows = RowAdagrad([table], lr=0.5)
            rows.state[table]["sum"].uniform_(1, 2)
            manager.write(kind.name, partition, table.detach(), rows.state_dict())
    manager.write_config(schema)
    manager.write_model(dict(model.state_dict()), optimizer.state_dict() if optimizer else None)
    manager.switch_to_new_version()
    return model, tables
