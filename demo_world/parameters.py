"""What a caller may choose about the world, and what follows from it."""

from dataclasses import asdict, dataclass

from artifacts.errors import ConfigError

DAY = 86_400
START = 1_767_225_600  # 2026-01-01T00:00Z: fixed, so that the same seed gives the same bytes on any day
RANKER_DAYS = 10


class DemoDataError(ConfigError):
    """The demo world cannot be written as asked."""


@dataclass(frozen=True)
class WorldParameters:
    """Size and seed of a world; everything else is derived here or fixed in `assumptions`.

    `impressions` is the number of rows for the ranker, spread over the 10 days after the graph's window; the
    graph's window of `days` days has the same daily rate.
    """

    users: int = 30_000
    impressions: int = 1_500_000
    days: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        floors = {"users": 100, "impressions": 1_000, "days": 1, "seed": 0}
        errors = [
            f"{name}: expected an integer of at least {floor}, got {value!r}"
            for name, floor in floors.items()
            if not isinstance(value := getattr(self, name), int) or value < floor
        ]
        if errors:
            raise DemoDataError(*errors)

    @property
    def graph_impressions(self) -> int:
        return self.impressions * self.days // RANKER_DAYS

    @property
    def graph_end(self) -> int:
        """Epoch second at which the graph's window ends and the ranker's begins."""
        return START + self.days * DAY

    @property
    def ranker_end(self) -> int:
        return self.graph_end + RANKER_DAYS * DAY

    @property
    def sizes(self) -> "WorldSizes":
        return WorldSizes.for_users(self.users)

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class WorldSizes:
    """Entity counts. Every topic has a merchant, every merchant an advertiser, every advertiser items and pins."""

    users: int
    topics: int
    merchants: int
    advertisers: int
    items: int
    pins: int

    @classmethod
    def for_users(cls, users: int) -> "WorldSizes":
        """Catalogue sizes that keep the events per item and per pin about constant as the audience grows."""
        topics = min(max(users // 500, 12), 300)
        merchants = max(users // 100, topics)
        advertisers = max(users // 75, merchants)
        return cls(
            users=users,
            topics=topics,
            merchants=merchants,
            advertisers=advertisers,
            items=max(users // 3, 4 * advertisers),
            pins=max(users // 10, 2 * advertisers),
        )
