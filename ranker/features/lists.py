"""What a list says without any vector: how old its events are, and where it names the ad itself."""

import numpy as np
from numpy.typing import NDArray

from ranker.data.ids.join import NO_ID
from ranker.data.ids.slots import Layout, Slot
from ranker.features.joined import Columns, JoinedRows, named, where
from ranker.features.vectors import LATEST


def list_columns(layout: Layout, joined: JoinedRows) -> Columns:
    """Ages of every list with times, in seconds, and matches with every slot of the ad whose ids mean the same."""
    found: Columns = {}
    for slot in (slot for slot in layout.slots if slot.is_list):
        if slot.name in joined.ages:
            ages = joined.ages[slot.name]
            found |= {named("age", slot.name, str(n)): ages[:, n - 1] for n in (1, LATEST) if n <= slot.width}
        for ad in (ad for ad in layout.slots if ad.side == "ad" and ad.space == slot.space):
            found |= _matches(slot, ad, joined)
    return found


def _matches(slot: Slot, ad: Slot, joined: JoinedRows) -> Columns:
    """Whether the last id is the ad's, how many of the latest and of all are, the first such place (from 1), its age.

    Nothing is known where there is no ad id; where no listed id is the ad's, it has no place and no age.
    """
    name, listed = f"match_{slot.name}_{ad.name}", joined.hashes[slot.name]
    has_ad = joined.hashes[ad.name][:, 0] != NO_ID
    same: NDArray[np.bool_] = (listed == joined.hashes[ad.name]) & (listed != NO_ID)
    first, matched = same.argmax(axis=1), same.any(axis=1)
    found = {
        named(name, "last"): where(has_ad, same[:, 0]),
        named(name, f"of_{LATEST}"): where(has_ad, same[:, :LATEST].sum(axis=1)),
        named(name, "of_all"): where(has_ad, same.sum(axis=1)),
        named(name, "place"): where(matched, 1 + first),
    }
    if slot.name in joined.ages:
        found[named(name, "age")] = where(matched, joined.ages[slot.name][np.arange(len(first)), first])
    return found
