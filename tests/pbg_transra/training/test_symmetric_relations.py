"""Relations that hold both ways, on a graph of words: what learns them, and what the entity asked from does to ranks.

Words come in groups of five synonyms; every group has an opposite one, all of whose words are antonyms. Pairs are held
out, both directions together. Of 300 words Hits@1 by chance is 1 in 300; who has learned the groups is right.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbg_transra.config import EvaluateConfig, ModelConfig
from pbg_transra.evaluation.report import evaluate
from pbg_transra.training.train import train
from tests.worlds.small_graphs import Triples, write_graph

WORDS, GROUP = 300, 5
HELD_OUT = 0.15
RELATIONS = ("synonym", "antonym")
SETTINGS: dict[str, Any] = {"dimension": 32, "epochs": 30, "batch_size": 200, "uniform_negatives": 50, "workers": 1}


def write_words(directory: Path) -> None:
    generator, group = np.random.default_rng(0), np.arange(WORDS) // GROUP
    edges = []
    for relation, partner in (("synonym", group), ("antonym", group ^ 1)):
        pairs = np.argwhere(np.triu(partner[:, None] == group, 1))  # each pair once, nobody with itself
        generator.shuffle(pairs)
        test = int(HELD_OUT * len(pairs))
        for split, chosen in (("test", pairs[:test]), ("train", pairs[test:])):
            both = np.concatenate([chosen, chosen[:, ::-1]])
            edges.append(Triples(relation, split, both[:, 0], both[:, 1]))
    directory.mkdir()
    write_graph(directory, {"word": [WORDS]}, dict.fromkeys(RELATIONS, ("word", "word")), edges)


def learned(directory: Path, **model: Any) -> dict[str, Any]:
    """Returns the metrics of each relation."""
    config, graph, trained = ModelConfig(**SETTINGS, **model), directory / "graph", directory / "model"
    write_words(graph)
    trained.mkdir()
    train(graph, trained, config, lambda progress: None, lambda bucket: None)
    tree = evaluate(graph, trained, config, EvaluateConfig(), lambda label, fraction: None)
    assert tree["own_entity_barred"] == list(RELATIONS)
    return dict(tree["relations"])


@pytest.mark.parametrize(
    "model",
    [
        {"operator": "transra_untied", "anchors": ("synonym",), "pull": 0.001, "relation_lr": 0.03},
        {"operator": "complex_diagonal", "relation_lr": 0.1},
    ],
    ids=lambda model: model["operator"],
)
def test_symmetric_relations_are_learned(tmp_path: Path, model: dict[str, Any]) -> None:
    found = learned(tmp_path, **model)
    for relation in RELATIONS:
        assert found[relation]["hits@1"] > 0.8
    assert found["synonym"]["own_entity_allowed"]["hits@1"] < 0.1  # nobody is more similar to a word than itself


def test_one_space_for_both_sides_cannot_learn_opposites(tmp_path: Path) -> None:
    """A word's synonyms are then at least as near to it as its antonyms: no setting of `transra` helps."""
    found = learned(tmp_path, operator="transra", anchors=("synonym",), pull=0.001, relation_lr=0.1)
    assert found["synonym"]["hits@1"] > 0.8 and found["antonym"]["hits@1"] < 0.2
