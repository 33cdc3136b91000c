"""The config sections `gate`, `keep` and `publish`: what a run must be like to be published, where to, what stays."""

from collections.abc import Iterator

from pydantic import Field

from artifacts.section import Problem, Section
from artifacts.sources.stores import is_url, url_problem

OF_RANKER = ("auc", "ne", "match")  # keys of the gate that are about what `rank` measures


class GateConfig(Section):
    """Bounds on what a run may differ by from the published one. What cannot be measured on both is not judged."""

    mrr: float | None = Field(None, ge=0, lt=1, description="the most of evaluate's MRR that may be lost, as a share")
    recall: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="the most of the retrieval's recall (anchor_retrieval, largest k, all pairs of types) that may be "
        "lost, as a share",
    )
    edges: float | None = Field(
        None, gt=0, le=1e6, description="how far the number of training edges may be from the published, as a share"
    )
    entities: float | None = Field(
        None, gt=0, le=1e6, description="how far the number of entities may be from the published, as a share"
    )
    relations: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="how far the number of training edges of each relation of the published graph may be from what it "
        "was there, as a share; one that is gone has none",
    )
    overlap: float | None = Field(
        None, gt=0, le=1, description="the least share of nearest neighbours that stay, of every type (stability)"
    )
    cosine: float | None = Field(
        None,
        gt=-1,
        le=1,
        description="the least mean cosine between an entity's vector and its published one, of every type; only warm "
        "trainings have one",
    )

    auc: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="the most of the ranker's AUC that may be lost, as a share, of each task; of the arm that `fit` "
        "trains, or else of each; `latest` then moves after `rank`",
    )
    ne: float | None = Field(
        None,
        ge=0,
        le=1e6,
        description="how much the ranker's normalised entropy may grow, as a share; judged as `auc` is",
    )
    match: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="the most of a slot's match rate (share of impressions whose id has a vector) that may be lost, as "
        "a share; judged as `auc` is",
    )

    @property
    def of_ranker(self) -> dict[str, float]:
        """The bounds on what `rank` measures, by key."""
        return {name: bound for name in OF_RANKER if (bound := getattr(self, name)) is not None}

    @property
    def judges_ranks(self) -> bool:
        """Whether it asks for what `evaluate` measures."""
        return self.mrr is not None or self.recall is not None

    @property
    def judges_drift(self) -> bool:
        return self.overlap is not None or self.cosine is not None


class KeepConfig(Section):
    """How many runs stay when one is published or rejected; without the section, all do."""

    runs: int = Field(7, gt=0, le=100_000, description="runs that are or were published, the newest; `latest` always")
    rejected: int = Field(2, ge=0, le=100_000, description="rejected runs, the newest")


class PublishConfig(Section):
    """A store that published runs are copied to, for readers elsewhere."""

    url: str = Field(
        min_length=1,
        description="A directory of a store, of this config alone, such as s3://bucket/vectors/demo or "
        "file:///srv/vectors/demo. Credentials come from the environment.",
    )
    keep: int = Field(
        3,
        ge=2,
        le=100_000,
        description="Runs that stay there, the newest; a reader of the one before the last is not disturbed.",
    )

    def problems(self) -> Iterator[Problem]:
        problem = url_problem(self.url)
        if problem is None and (not is_url(self.url) or self.url.startswith(("http://", "https://"))):
            problem = "nothing can be written there; expected a URL such as s3://bucket/vectors/demo or file:///srv/x"
        if problem:
            yield Problem(("url",), problem)
