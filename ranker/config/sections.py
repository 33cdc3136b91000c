"""The `ranker` section of the run config: the log, the arms, the model and how it is trained."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from artifacts.moment import epoch_seconds, iso
from artifacts.section import Problem, Section, did_you_mean
from artifacts.sources.stores import url_problem
from ranker.config.arms import ALL, ARMS, CHEAP, ArmConfig, named
from ranker.config.columns import LabelsConfig, SegmentConfig, SlotConfig, SplitConfig, Transform, count_feature

Width = Annotated[int, Field(gt=0, le=1 << 20)]
STEPS, BATCH_SIZES = 1000, (64, 2048)  # of an epoch; sizes that are chosen where `batch_size` is null
Counted = Annotated[tuple[str, ...], Field(min_length=1, max_length=2)]
Seed = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]


class ExpectedExport(Section):
    """What every export must be; a null is not checked."""

    dimension: int | None = Field(None, gt=0, le=1 << 16, description="Length of its vectors.")
    anchors: tuple[str, ...] | None = Field(None, description="Its anchor relations, in any order.")
    run: str | None = Field(None, description="The run id that it was exported from.")


class IdsConfig(Section):
    """The ID table: an id is the sum of `hashes` rows, so two ids rarely share all of theirs."""

    rows: int = Field(1 << 18, ge=2, le=1 << 32, description="Rows of the one table that all slots share.")
    hashes: int = Field(2, ge=1, le=8, description="Rows that make up one id.")
    dim: int = Field(16, gt=0, le=1 << 16, description="Length of an id's embedding.")
    lr: float = Field(0.03, gt=0, le=1e3, description="First learning rate of its row-wise Adagrad.")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of ids that a step hides, their graph vectors too, where many of those to come will be new.",
    )


class KgeConfig(Section):
    """The graph vectors where an arm fine-tunes them."""

    lr: float = Field(0.01, gt=0, le=1e3, description="First learning rate of their row-wise Adagrad.")


class AttentionConfig(Section):
    """How graph vectors are adapted, matched and attended to."""

    width: int = Field(64, gt=0, le=1 << 16, description="Length of an adapted vector.")
    heads: int = Field(2, gt=0, le=1 << 10, description="Attention heads.")
    groups: int = Field(
        8, gt=0, le=1 << 16, description="Partial inner products of each user vector with each ad vector."
    )

    def problems(self) -> Iterator[Problem]:
        for name in ("heads", "groups"):
            if self.width % getattr(self, name):
                yield Problem((name,), f"{getattr(self, name)}: expected a divisor of width ({self.width})")


class BackboneConfig(Section):
    """DCN-v2 (arXiv 2008.13535): low-rank cross layers, then a perceptron."""

    cross_layers: int = Field(2, ge=0, le=100, description="Cross layers.")
    cross_rank: int = Field(32, gt=0, le=1 << 16, description="Rank of a cross layer's matrix.")
    hidden: tuple[Width, ...] = Field(
        (128, 64), min_length=1, max_length=100, description="Widths of the hidden layers."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of hidden units dropped in training.")


class HeadsConfig(Section):
    """How the tasks share the perceptron, and where CVR is learned."""

    kind: Literal["shared_bottom", "mmoe"] = Field(
        "shared_bottom", description="One perceptron for all tasks, or a gated mixture of experts (MMoE)."
    )
    experts: int = Field(4, ge=2, le=1000, description="Experts of MMoE.")
    cvr: Literal["esmm", "clicks"] = Field(
        "esmm", description="esmm: from click-and-convert over all impressions (arXiv 1804.07931); clicks: from clicks."
    )
    ctr_weight: float = Field(1.0, gt=0, le=1e6, description="Weight of the click loss.")
    cvr_weight: float = Field(1.0, gt=0, le=1e6, description="Weight of the conversion loss.")


class TrainingConfig(Section):
    """How a model is trained; the same seed gives the same model."""

    epochs: int = Field(1, gt=0, le=100_000, description="CTR models overfit in their second epoch (arXiv 2209.06053).")
    batch_size: int | None = Field(
        None,
        gt=0,
        le=1 << 24,
        description="Impressions a step and process; null: a thousandth of an epoch, between 64 and 2048.",
    )
    lr: float = Field(
        0.002,
        gt=0,
        le=1e3,
        description="First learning rate of everything but the tables (AdamW); all fall to 0 by the end.",
    )
    weight_decay: float = Field(0.01, ge=0, le=1e3, description="Of AdamW.")
    eval_every: int | None = Field(
        None, gt=0, le=1 << 40, description="Steps between validations; null: four in an epoch."
    )
    patience: int = Field(
        3, gt=0, le=100_000, description="Validations without a better loss after which a task is done."
    )
    keep_negatives: float = Field(
        1.0, gt=0, le=1, description="Share of rows without a click that are trained on; predictions stay calibrated."
    )
    buffer_rows: int = Field(1 << 18, gt=0, le=1 << 31, description="Rows among which the order is shuffled.")
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, max_length=10_000, description="One training per arm and seed.")

    def chosen_batch_size(self, rows: float) -> int:
        """Impressions a step where `batch_size` does not say: they follow from the rows of an epoch alone."""
        return min(max(int(rows / STEPS), BATCH_SIZES[0]), BATCH_SIZES[1])


class FitConfig(Section):
    """What `transra fit` trains on all days, for `transra score` and `ranker.Scorer`."""

    arm: str = Field(
        description="Which of `arms`. It is trained for `training.epochs` with the first of `training.seeds`."
    )


class RankerConfig(Section):
    """A CTR/CVR ranker over impressions, and the arms that are compared on it."""

    # Of `compare`, `arms` holds what it chooses.
    without_effect = frozenset({"tensorboard", "compare", "threads", "device", "fit"})

    impressions: str | list[str] = Field(
        description="Parquet files, relative to the root: a path, a directory or a glob (also **), or a list of them; "
        "as a URL (s3://bucket/x/*.parquet) of a store. Directories named key=value become columns."
    )
    where: str | None = Field(
        None,
        description="SQL condition on the columns of a row, as in graph.relations: the rows that are impressions. "
        "The others are counted; what they hold is not looked at. null: all rows.",
    )
    time_column: str = Field("ts", description="When an ad was shown.")
    time_unit: Literal["s", "ms", "us"] = Field("s", description="Unit of an integer time column, since 1970 UTC.")
    user: str = Field("user_id", description="The slot by which gAUC is grouped and intervals are resampled.")
    slots: dict[str, SlotConfig] = Field(min_length=1, description="Columns of ids, by name.")
    categoricals: tuple[str, ...] = Field((), description="Columns of few distinct values, strings or integers.")
    numerics: dict[str, Transform] = Field(
        {}, description="Columns of numbers and how they are brought to scale; a list slot counts as its length."
    )
    counts: tuple[Counted, ...] = Field(
        (),
        max_length=100,
        description="Columns, one or two together, by whose values impressions, clicks and conversions of earlier days "
        "are counted: numerics of every arm. A conversion counts once its attribution window has closed.",
    )
    labels: LabelsConfig = Field(description="What is predicted.")
    split: SplitConfig = Field(SplitConfig(), description="Train, valid and test.")
    segments: dict[str, SegmentConfig] = Field({}, description="Rows that are also judged apart, by name.")
    vectors: tuple[str, ...] = Field((), description="Runs whose exports are compared; empty: the config's own.")
    expect: ExpectedExport = Field(ExpectedExport(), description="What the exports must be.")
    on_bad_rows: Literal["refuse", "drop"] = Field(
        "refuse",
        description="A row without a time or a label, or with one (of a listed event, too) that cannot be: refuse the "
        "log, or drop it.",
    )
    max_bad_share: float = Field(
        0.01, ge=0, le=1, description="With on_bad_rows 'drop': the largest share of rows that may be bad."
    )
    min_match_rate: float = Field(
        0.5, ge=0, le=1, description="Least share of a slot's ids (of its traffic) that the export must know."
    )
    arms: dict[str, ArmConfig] = Field(ARMS, min_length=1, description="Models that can be compared, by name.")
    fit: FitConfig | None = Field(
        None, description="The arm that is trained on all days and published; null: `transra run` publishes none."
    )
    compare: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Which of `arms` are trained and compared, or ['all']; `--arms` says otherwise for one command. "
        "null: none and attention, or all where the config writes `arms` itself.",
    )
    ids: IdsConfig = Field(IdsConfig(), description="The ID table.")
    kge: KgeConfig = Field(KgeConfig(), description="Fine-tuned graph vectors.")
    attention: AttentionConfig = Field(AttentionConfig(), description="Attention over graph vectors.")
    backbone: BackboneConfig = Field(BackboneConfig(), description="The network behind all arms.")
    heads: HeadsConfig = Field(HeadsConfig(), description="The tasks.")
    training: TrainingConfig = Field(TrainingConfig(), description="Optimisation.")
    threads: int | None = Field(
        None, gt=0, le=1 << 10, description="Threads in which training computes; null: as many as torch chooses."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="where models train and are judged; cuda: a GPU, refused where there is none; auto: a GPU where "
        "there is one",
    )
    tensorboard: bool = Field(
        False,
        description="write every validation for TensorBoard, into <run>/tensorboard/rank "
        "(needs `pip install '.[tensorboard]'`)",
    )
    bootstrap: int = Field(200, ge=20, le=1_000_000, description="Resamples of users behind each interval.")

    def unjudged(self) -> list[str]:
        """A line for each window that begins when no conversion of its impressions can be known."""
        until, days = self.labels.observed_until, self.labels.attribution_days
        if until is None or days is None:
            return []
        last = epoch_seconds(until) - int(days * 86_400)
        starts = {"valid_from": self.split.valid_from, "test_from": self.split.test_from}
        return [
            f"ranker.split.{name}: {start}: of no impression from then on is it known whether it converted, since with "
            f"attribution_days {days:g} the last that is known of is of {iso(last)} (ranker.labels.observed_until); "
            "expected an earlier time"
            for name, start in starts.items()
            if start is not None and epoch_seconds(start) > last
        ]

    def of_compared(self) -> "RankerConfig":
        """The same with no other arms than those that are compared."""
        names = self.compare or (CHEAP if self.arms == ARMS else tuple(self.arms))
        return self.model_copy(update={"arms": named(self.arms, names), "compare": tuple(names)})

    @property
    def list_times(self) -> dict[str, str]:
        """The columns of times, by the list slots that have one."""
        return {name: slot.times for name, slot in self.slots.items() if slot.times is not None}

    @property
    def derived_slots(self) -> dict[str, SlotConfig]:
        """The slots that the log has no column of."""
        return {name: slot for name, slot in self.slots.items() if slot.of is not None}

    def stored(self, column: str) -> str:
        """The column of the log that a column is read from."""
        slot = self.slots.get(column)
        return column if slot is None or slot.of is None else slot.of

    @property
    def stored_counts(self) -> tuple[tuple[str, ...], ...]:
        """`counts`, by the columns of the log that they are made from."""
        return tuple(tuple(map(self.stored, columns)) for columns in self.counts)

    @property
    def count_features(self) -> tuple[str, ...]:
        """The numerics that `counts` make, by their names."""
        return tuple(count_feature(columns, one) for columns in self.counts for one in self.labels.counted)

    @property
    def patterns(self) -> list[str]:
        return [self.impressions] if isinstance(self.impressions, str) else self.impressions

    @property
    def graph_slots(self) -> dict[str, SlotConfig]:
        """The slots that the graph knows."""
        return {name: slot for name, slot in self.slots.items() if slot.type is not None}

    def problems(self) -> Iterator[Problem]:
        """Yields what the types alone cannot say."""
        for name in ("labels", "split", "attention"):
            for problem in getattr(self, name).problems():
                yield Problem((name, *problem.path), problem.message)
        if not self.categoricals and not self.numerics:
            yield Problem(("numerics",), "no tabular column at all; expected `categoricals`, `numerics` or both")
        yield from (Problem(("impressions",), wrong) for one in self.patterns if (wrong := url_problem(one)))
        yield from self._slot_problems()
        yield from self._label_problems()
        yield from self._count_problems()
        yield from self._segment_problems()
        for name in self.compare or ():
            if name not in (known := [*self.arms, ALL]):
                yield Problem(("compare",), f"'{name}' is not an arm{did_you_mean(name, known)}")
        for name, arm in self.arms.items():
            if arm.finetune and arm.vectors == "none":
                yield Problem(("arms", name, "finetune"), "has no meaning without `vectors`")
            if name in (ALL, "", ".", "..") or set("@,") & set(name):  # it becomes the name of a directory
                yield Problem(("arms", name), f"expected a name other than '{ALL}', '.' and '..', without '@' and ','")

        if self.fit is not None and self.fit.arm not in self.arms:
            yield Problem(("fit", "arm"), f"'{self.fit.arm}' is not an arm{did_you_mean(self.fit.arm, [*self.arms])}")

    def _slot_problems(self) -> Iterator[Problem]:
        singles = [name for name, slot in self.slots.items() if slot.cap is None and slot.of is None]
        if self.user not in singles:
            yield Problem(("user",), f"'{self.user}' is not an id slot{did_you_mean(self.user, singles)}")
        for name, slot in self.slots.items():
            if slot.cap is not None and slot.side == "ad":
                yield Problem(("slots", name, "side"), "expected 'user': lists are what the user did last")
            if slot.cap is None and slot.times is not None:
                yield Problem(
                    ("slots", name, "times"), "has no meaning without `cap`: only what a list holds has times"
                )
        for name, slot in self.slots.items():
            yield from self._derived_problems(name, slot)
        attending = [name for name, arm in self.arms.items() if arm.vectors == "attention"]
        for side in ("user", "ad"):
            if attending and not any(slot.side == side for slot in self.graph_slots.values()):
                yield Problem(("slots",), f"arm '{attending[0]}' needs a slot with a type on the {side} side")

    def _derived_problems(self, name: str, slot: SlotConfig) -> Iterator[Problem]:
        """Of a slot that is an attribute of another one's ids."""
        if (slot.of is None) != (slot.via is None):
            yield Problem(("slots", name, "via"), "expected together with `of`")
        if slot.of is None:
            return
        known = [other for other, one in self.graph_slots.items() if one.of is None]
        if slot.of not in known:
            hint = did_you_mean(slot.of, known)
            yield Problem(("slots", name, "of"), f"'{slot.of}' is not a slot of the log with a type{hint}")
            return
        other = self.slots[slot.of]
        if slot.type is None:
            yield Problem(("slots", name, "type"), "expected the type that `via` leads to")
        if slot.cap != other.cap:
            yield Problem(("slots", name, "cap"), f"expected that of '{slot.of}' ({other.cap})")
        if slot.times not in (None, other.times):
            yield Problem(("slots", name, "times"), f"expected those of '{slot.of}' ({other.times})")

    def _label_problems(self) -> Iterator[Problem]:
        """Of what a model would read, and which says what it is to predict."""
        read: dict[tuple[str | int, ...], str] = {("slots", name): self.stored(name) for name in self.slots}
        read |= {("slots", name, "times"): column for name, column in self.list_times.items()}
        read |= {("categoricals", index): name for index, name in enumerate(self.categoricals)}
        read |= {("numerics", name): name for name in self.numerics}
        for path, name in read.items():
            if name in self.labels.columns:
                yield Problem(path, f"'{name}' is a label: it is not known when an ad is shown")

    def _count_problems(self) -> Iterator[Problem]:
        lists = {name for name, slot in self.slots.items() if slot.cap is not None} | set(self.list_times.values())
        taken = {*self.slots, *self.categoricals, *self.numerics, *self.labels.columns, self.time_column}
        for index, columns in enumerate(self.counts):
            path = ("counts", index)
            for name in columns:
                if name in self.labels.columns:
                    yield Problem(path, f"'{name}' is a label: it is not known when an ad is shown")
                elif name in lists:
                    yield Problem(path, f"'{name}' is a list, expected columns of single values")
                elif name == self.time_column:
                    yield Problem(path, f"'{name}' is the time, expected columns whose values come again")
            if len(set(columns)) < len(columns):
                yield Problem(path, f"'{columns[0]}' is there twice, expected two columns or one")
            features = {count_feature(columns, measure) for measure in self.labels.counted}
            if again := sorted(features & taken):
                yield Problem(
                    path, f"there is '{again[0]}' already; expected each count once, and no column of its name"
                )
            taken |= features

    def _segment_problems(self) -> Iterator[Problem]:
        known = [name for name in self.numerics if name not in self.slots]
        for name, segment in self.segments.items():
            for problem in segment.problems():
                yield Problem(("segments", name, *problem.path), problem.message)
            singles = [slot for slot, config in self.graph_slots.items() if config.cap is None]
            if segment.unknown is not None and segment.unknown not in singles:
                hint = did_you_mean(segment.unknown, singles)
                yield Problem(("segments", name, "unknown"), f"'{segment.unknown}' is not an id slot with a type{hint}")
            columns = known + [slot for slot, config in self.slots.items() if config.cap is not None]
            if segment.column is not None and segment.column not in columns:
                hint = did_you_mean(segment.column, columns)
                yield Problem(("segments", name, "column"), f"'{segment.column}' is no numeric or list slot{hint}")
