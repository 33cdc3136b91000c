"""Where the ids of a row lie: every slot has one token, a list slot has as many as its cap."""

from collections.abc import Mapping
from dataclasses import dataclass

from ranker.config.columns import SlotConfig
from ranker.config.sections import RankerConfig

# Of 64 to 8192 rows the fastest a row with up to a hundred ids, for arms with vectors; vectors of a thousand ids would
# take gigabytes.
PREDICTED_ROWS, PREDICTED_IDS = 4096, 1 << 18


@dataclass(frozen=True)
class Slot:
    """`first` and `width` are its place among a row's tokens; `space` names the ids that mean the same thing.

    `first_age` is where the ages of a list with times begin among a row's ages. `derived`: an attribute of another
    slot's ids.
    """

    name: str
    type: str | None
    side: str
    is_list: bool
    first: int
    width: int
    first_age: int | None = None
    derived: bool = False

    @property
    def ages(self) -> slice | None:
        return None if self.first_age is None else slice(self.first_age, self.first_age + self.width)

    @property
    def tokens(self) -> slice:
        return slice(self.first, self.first + self.width)

    @property
    def space(self) -> str:
        return self.type or self.name


@dataclass(frozen=True)
class Layout:
    """The slots in the config's order."""

    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, config: RankerConfig) -> "Layout":
        return cls.of_slots(config.slots)

    @classmethod
    def of_slots(cls, configs: Mapping[str, SlotConfig]) -> "Layout":
        slots, first, first_age = [], 0, 0
        for name, slot in configs.items():
            width, timed = slot.cap or 1, slot.times is not None
            ages, derived = first_age if timed else None, slot.of is not None
            slots.append(Slot(name, slot.type, slot.side, slot.cap is not None, first, width, ages, derived))
            first += width
            first_age += width * timed
        return cls(tuple(slots))

    @property
    def ages(self) -> int:
        """Places of a row's ages."""
        return sum(slot.width for slot in self.slots if slot.ages is not None)

    @property
    def width(self) -> int:
        return sum(slot.width for slot in self.slots)

    @property
    def predicted_rows(self) -> int:
        """How many rows are predicted together."""
        return max(min(PREDICTED_ROWS, PREDICTED_IDS // self.width), 1)

    def slot(self, name: str) -> Slot:
        return next(slot for slot in self.slots if slot.name == name)

    def graph(self, side: str | None = None, lists: bool | None = None) -> list[Slot]:
        """The slots that the graph knows, on one side or both, single ids or lists or both."""
        return [
            slot
            for slot in self.slots
            if slot.type is not None and side in (None, slot.side) and lists in (None, slot.is_list)
        ]
