"""What work was made from, so that it is found again. Work of other settings lies beside it, and the oldest goes."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from artifacts.files.intact import require_intact
from artifacts.files.json_file import read_json
from artifacts.files.publish import link_tree, write_json
from ranker.config.sections import RankerConfig
from ranker.data.log.impression_log import ImpressionLog

USED = "used.json"  # the names of the directories beside it, the one asked for last first
DONE = "training.json"  # in the directory of a training: written last
NAME = 16  # hexadecimal digits of a digest that name a directory
TRAINED_BY = 14  # number of the way in which models are made and trained: earlier trainings are not gone on with
# What is trained at all, what is refused, and how the outcome is judged: no single training follows from these.
BESIDE_TRAINING = {
    *("arms", "compare", "fit", "vectors", "expect", "min_match_rate", "tensorboard", "bootstrap", "threads", "device")
}
# Of what is left: what the encoded impressions do not depend on.
BESIDE_PREPARING = BESIDE_TRAINING | {"ids", "kge", "attention", "backbone", "heads", "training"}


@dataclass(frozen=True)
class Earlier:
    """The trainings of another ranking, and the digests of its files by path below `directory`."""

    directory: Path
    digests: Mapping[str, str]

    def take(self, contestant: str, key: str, seed: str, place: Path) -> None:
        """Links a finished training to `place`, which has none; not one that is no longer what was published."""
        found = place_of(Path(contestant), key) / seed
        if not (self.directory / found / DONE).is_file():
            return
        try:
            require_intact(self.directory, self.digests, (f"{found.as_posix()}/",), "train it again")
        except DataError:
            return
        shutil.rmtree(place, ignore_errors=True)
        link_tree(self.directory / found, place)


def log_identity(config: RankerConfig, log: ImpressionLog) -> str:
    """A digest of all that every training follows from."""
    settings = config.model_dump(mode="json", exclude=BESIDE_TRAINING)
    settings["training"].pop("seeds")
    return digest([TRAINED_BY, settings, log.identity()])


def prepared_identity(config: RankerConfig, log: ImpressionLog, exports: Iterable[Embeddings]) -> str:
    """A digest of all that the encoded impressions follow from: no arm, no seed and no rate among it."""
    settings = config.model_dump(mode="json", exclude=BESIDE_PREPARING)
    return digest([TRAINED_BY, settings, log.identity(), export_identity(exports)])


def export_identity(exports: Iterable[Embeddings]) -> str:
    """A digest of exports by what is computed with; copied, under another run's name or written anew they are the
    same."""
    return digest([export.content for export in exports])


def digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def place_of(directory: Path, key: str) -> Path:
    """Where what is made from `key` lies."""
    return directory / key[:NAME]


def kept_place(directory: Path, key: str, kept: int) -> Path:
    """`place_of`, made if need be. Only the `kept` places below `directory` that were asked for last stay."""
    place = place_of(directory, key)
    used = [place.name, *(name for name in _used(directory) if name != place.name)][:kept]
    for other in directory.iterdir() if directory.is_dir() else ():
        if other.is_dir() and other.name not in used:
            shutil.rmtree(other)
    place.mkdir(parents=True, exist_ok=True)
    write_json(directory / USED, used)
    return place


def _used(directory: Path) -> list[str]:
    """What was asked for, the last first; of a list that cannot be read, nothing: what it named is made anew."""
    try:
        return read_json(directory / USED, list[str], "which work was asked for last")
    except DataError:
        return []
