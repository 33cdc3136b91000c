"""The entity map, in numbers: its ids lie in files (`id_files`), and in the tables of the engine that reads events."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EntityMap:
    """Ids of a type by partition: `counts` of all, the first `previous` of which the previous graph has, too."""

    type: str
    counts: tuple[int, ...]
    previous: tuple[int, ...]
