"""Some rows of the log with their ids looked up, and what the export knows of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from ranker.data.ids.join import ABSENT, Hashes, Rows
from ranker.data.ids.slots import Slot
from ranker.data.log.lists import Ages

Values = NDArray[np.float64]  # (N,), NaN where nothing is known
Columns = dict[str, Values]
FORBIDDEN = str.maketrans(dict.fromkeys('",:[]{} \t\n\r', "_"))  # LightGBM takes no such names


@dataclass(frozen=True)
class JoinedRows:
    """N rows by slot of W places: `hashes` (N, W), `rows` of the export (N, W), and `ages` (N, W) of lists with times.

    An age is in seconds, NaN where there is none.
    """

    export: Embeddings
    hashes: dict[str, Hashes]
    rows: dict[str, Rows]
    ages: dict[str, Ages]

    def known(self, slot: Slot) -> NDArray[np.bool_]:
        """Which of a slot's ids the export knows, (N, W)."""
        return self.rows[slot.name] != ABSENT

    def vectors(self, slot: Slot) -> NDArray[np.float32]:
        """Exported vectors (N, W, D), zeros for an unknown id."""
        rows = self.rows[slot.name]
        found = np.asarray(self.export.vectors(str(slot.type))[np.maximum(rows, 0)], np.float32)
        return found * self.known(slot)[:, :, None]

    def only(self, part: slice) -> "JoinedRows":
        """Some of the rows."""
        return JoinedRows(
            self.export,
            {name: values[part] for name, values in self.hashes.items()},
            {name: values[part] for name, values in self.rows.items()},
            {name: values[part] for name, values in self.ages.items()},
        )


def named(*parts: str) -> str:
    """The name of a column."""
    return "_".join(parts).translate(FORBIDDEN)


def where(known: Any, values: NDArray[Any]) -> Values:
    """Values (N,), NaN where they are not known (N,)."""
    return np.where(known, values.astype(np.float64), np.nan)
