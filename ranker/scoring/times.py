"""When rows to score are asked for: what ages of listed events and counts of earlier days go by."""

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import DataError
from artifacts.moment import YEAR_1990, epoch_seconds, iso
from ranker.data.log.block import LogBlock
from ranker.data.log.times import impression_times
from ranker.scoring.manifest import Manifest


def request_times(block: LogBlock, manifest: Manifest) -> NDArray[np.int64]:
    """Epoch seconds (N,).

    Raises DataError for a missing one, one outside 1970 to 2200, and one before 1990 where training had later ones:
    all ages would be minutes then, and nothing would have been counted.
    """
    shown = impression_times(block, manifest.time_column, manifest.time_unit)
    first, early = manifest.trained["first"], shown < YEAR_1990
    if early.any() and epoch_seconds(first) >= YEAR_1990:
        name, unit = manifest.time_column, manifest.time_unit
        found = f"{name} is {iso(int(shown[early][0]))}, but from {first} on in training"
        raise DataError(f"{block.row(early)}: {found}; expected the same unit (in training {unit})")
    return shown
