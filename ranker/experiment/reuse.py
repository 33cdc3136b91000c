"""What finished work was made from, so that it is reused where it can be and thrown away where it cannot."""

import json
import shutil
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from artifacts.embeddings import Embeddings
from artifacts.inputs import FileState
from artifacts.json_file import read_json
from artifacts.publish import write_json
from ranker.config.sections import RankerConfig
from ranker.data.log import ImpressionLog

MADE_FROM = "made_from.json"
TRAINED_BY = 6  # number of the way in which models are made and trained: earlier trainings are not gone on with
# What is trained at all, what is refused, and how the outcome is judged: no single training follows from these.
BESIDE_TRAINING = {"arms", "vectors", "expect", "min_match_rate", "tensorboard", "bootstrap"}


def log_identity(config: RankerConfig, log: ImpressionLog) -> str:
    """A digest of all that every training follows from."""
    settings = config.model_dump(mode="json", exclude=BESIDE_TRAINING)
    settings["training"].pop("seeds")
    return digest([TRAINED_BY, settings, log.identity()])


def export_identity(exports: Iterable[Embeddings]) -> str:
    """A digest of exports; the same file under another path or run name is the same."""
    return digest([(export.attributes["run_id"], FileState.of(export.path).content) for export in exports])


def digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def open_directory(directory: Path, made_from: Any) -> None:
    """Makes sure of a directory, emptied of what an earlier call made from something else."""
    path = directory / MADE_FROM
    if not path.exists() or read_json(path, Any, "what a training was made from") != made_from:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        write_json(path, made_from)
