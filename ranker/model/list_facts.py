"""What a list says without any vector: how long ago its latest event was, and where it names the ad itself."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ranker.data.batch import Batch
from ranker.data.ids.join import NO_ID
from ranker.data.ids.slots import Layout, Slot
from ranker.data.log.lists import AGE_BUCKETS

LAST = (1, THIRD := 3)  # how many of the latest events are looked at apart, beside the whole list
STAIRS = 10  # ramps from the youngest age to none
LATELY = (4, 6, 8, 10, 12, 13, 14, 16)  # buckets: 15 minutes, 1 hour, 4, 17, then 3 days, 6, 11, 45
COUNT_SCALE = 1.5  # brings logarithms of counts within SPREAD, of up to a dozen events
WINDOWS = 2 * (len(LAST) + 1)  # numbers that `windows` gives
SPREAD = 4.0  # between the least and the largest fact: they are to weigh as much as numerics do, which have unit spread


class ListFacts(nn.Module):
    """Every list slot's latest age, and its matches with each ad slot whose ids mean the same: -> (B, `width`).

    All of them lie within SPREAD.
    """

    lately: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        lists = [slot for slot in layout.slots if slot.is_list]
        ads = [slot for slot in layout.slots if slot.side == "ad"]
        self.timed = [slot.ages for slot in lists if slot.ages is not None]
        self.pairs = [(slot, ad) for slot in lists for ad in ads if slot.space == ad.space]
        self.attributes = [(slot, ad) for slot, ad in self.pairs if slot.derived and slot.ages is not None]
        self.width = len(self.timed) * len(LAST) * (1 + STAIRS) + len(self.pairs) * (WINDOWS + 1)
        self.width += 2 * len(LATELY) * len(self.attributes)
        self.register_buffer("lately", torch.tensor(LATELY).unsqueeze(1), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        found = [event_ages(batch.ages[:, place]) for place in self.timed]
        found += [self._matches(batch, slot, ad) for slot, ad in self.pairs]
        found += [self._lately(batch, slot, ad) for slot, ad in self.attributes]
        return torch.cat(found, dim=1) if found else batch.numerics[:, :0]

    def _matches(self, batch: Batch, slot: Slot, ad: Slot) -> Tensor:
        """How the list's ids equal the ad's, in windows, and how near its front: (B, WINDOWS + 1)."""
        listed = batch.hashes[:, slot.tokens]
        present = listed != NO_ID
        equal = ((listed == batch.hashes[:, ad.tokens]) & present).float()
        near = equal / torch.arange(1, slot.width + 1, device=equal.device)
        return SPREAD * torch.cat([windows(equal.unsqueeze(1), present), near.amax(dim=1, keepdim=True)], dim=1)

    def _lately(self, batch: Batch, slot: Slot, ad: Slot) -> Tensor:
        """How many of its ids of the last minutes, hours and days are the ad's, and whether any: (B, 2 * LATELY).

        Of attributes alone: a category comes again within a list, an ad's own id hardly ever.
        """
        assert slot.ages is not None
        listed, ages = batch.hashes[:, slot.tokens], batch.ages[:, slot.ages]
        equal = (listed == batch.hashes[:, ad.tokens]) & (listed != NO_ID) & (ages > 0)
        ages = torch.where(equal, ages, AGE_BUCKETS + 1).unsqueeze(1)
        young = (ages <= self.lately).sum(dim=2).float()
        return torch.cat([COUNT_SCALE * young.log1p(), SPREAD * young.clamp(max=1.0)], dim=1)


def event_ages(ages: Tensor) -> Tensor:
    """(B, L) buckets, 0 where there is none -> (B, 2 * (1 + STAIRS)): how old the latest and the third event are.

    As one number, from SPREAD / 2 for the youngest to -SPREAD / 2 for none, and as ramps between knots (see `Tabular`).
    """
    known = F.pad(torch.where(ages > 0, ages, AGE_BUCKETS + 1), (0, THIRD), value=AGE_BUCKETS + 1)
    risen = (torch.stack([known.amin(dim=1), known[:, THIRD - 1]], dim=1) - 1) / AGE_BUCKETS
    stairs = (risen.unsqueeze(2) * STAIRS - torch.arange(STAIRS, device=ages.device)).clamp(0.0, 1.0)
    return torch.cat([SPREAD * (0.5 - risen), stairs.flatten(1)], dim=1)


def windows(values: Tensor, present: Tensor) -> Tensor:
    """Largest and mean of the latest 1, the latest 3 and all of the `present` (B, L) values.

    (B, J, L) -> (B, J * WINDOWS); 0 where none is present.
    """
    there = present.unsqueeze(1)
    largest, total = values.masked_fill(~there, -torch.inf), values * there
    found = []
    for width in (*LAST, values.shape[2]):
        count = there[:, :, :width].sum(dim=2)
        top = largest[:, :, :width].amax(dim=2)
        found += [top.masked_fill(count == 0, 0.0), total[:, :, :width].sum(dim=2) / count.clamp(min=1)]
    return torch.stack(found, dim=2).flatten(1)
