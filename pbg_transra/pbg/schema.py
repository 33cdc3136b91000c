"""Our config in PBG's words."""

import json
from pathlib import Path

from torchbiggraph.config import ConfigSchema, EntitySchema, RelationSchema

from artifacts.formats.graph import Graph, edge_path
from pbg_transra.config import ModelConfig
from pbg_transra.pbg.operators import operator_name


def entity_schemas(graph: Graph) -> dict[str, EntitySchema]:
    return {t.name: EntitySchema(num_partitions=t.partitions) for t in graph.entity_types}


def relation_schemas(graph: Graph, config: ModelConfig) -> list[RelationSchema]:
    return [
        RelationSchema(
            name=relation.name,
            lhs=relation.lhs,
            rhs=relation.rhs,
            operator=operator_name(config, relation),
            weight=config.relation_weights.get(relation.name, 1.0),
        )
        for relation in graph.relations
    ]


def pbg_config(
    graph: Graph, graph_dir: Path, checkpoint_path: str, model: ModelConfig, workers: int | None
) -> ConfigSchema:
    """The whole config: the graph as PBG would read it, and the settings of training that it has, too."""
    return ConfigSchema(
        entities=entity_schemas(graph),
        relations=relation_schemas(graph, model),
        entity_path=str(graph_dir),
        edge_paths=[str(edge_path(graph_dir, "train"))],
        checkpoint_path=checkpoint_path,
        dimension=model.dimension,
        init_scale=model.init_scale,
        global_emb=False,  # it would add a learned vector per type before the operator
        comparator=model.similarity,
        loss_fn=model.loss,
        margin=model.margin,
        num_epochs=model.epochs,
        num_edge_chunks=model.edge_chunks,
        workers=workers,
        batch_size=model.batch_size,
        num_batch_negs=model.batch_negatives,
        num_uniform_negs=model.uniform_negatives,
        lr=model.lr,
        relation_lr=model.relation_lr,
        eval_fraction=0,  # PBG would withhold the same edges for ever
        hogwild_delay=0,
    )


def config_text(graph: Graph, graph_dir: Path, checkpoint_path: str, model: ModelConfig, workers: int) -> str:
    """The whole config as PBG keeps it beside a checkpoint and in each of its files."""
    return json.dumps(pbg_config(graph, graph_dir, checkpoint_path, model, workers).to_dict(), indent=4)
