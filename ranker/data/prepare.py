"""From the log to records: transforms fitted on train, then every row encoded once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.embeddings import Embeddings
from artifacts.errors import DataError
from artifacts.files.publish import write_json
from artifacts.machine.resources import require_disk
from ranker.data.ids.join import ABSENT, NO_ID, MatchRate, join_slot
from ranker.data.ids.slots import Layout
from ranker.data.log.block import LogBlock
from ranker.data.log.impression_log import UNKNOWN, ImpressionLog
from ranker.data.log.lists import age_buckets
from ranker.data.log.windows import Windows
from ranker.data.records import SPLITS, Records, Summary, judged, record_type
from ranker.data.tabular.count_log import count_log, remove_counts
from ranker.data.tabular.counts import Counts
from ranker.data.tabular.transforms import LARGEST, Categorical, Fitted, Numeric, numbers

TRANSFORMS = "transforms.json"  # beside the records: what the transforms were fitted to
TRANSFORM_SEED = 0  # of the sample that numerics are fitted on
Progress = Callable[[str, float], None]


class Preparation:
    """Encodes a log into `directory`; `counts` are those of the log, if the config has any."""

    def __init__(
        self, log: ImpressionLog, windows: Windows, exports: Mapping[str, Embeddings], counts: Counts | None = None
    ) -> None:
        config, self.counts_before = log.config, counts
        self.log, self.windows, self.exports, self.layout = log, windows, exports, Layout.of(config)
        self.categoricals = [Categorical(name) for name in config.categoricals]
        self.numerics = [Numeric(name, transform, TRANSFORM_SEED) for name, transform in config.numerics.items()]
        self.numerics += [Numeric(name, "log", TRANSFORM_SEED) for name in config.count_features]
        self.transforms: list[Categorical | Numeric] = [*self.categoricals, *self.numerics]
        self.rates = {name: {slot.name: MatchRate() for slot in self.layout.graph()} for name in exports}
        self.counts = {split: dict.fromkeys(("rows", "clicks", "conversions", "known"), 0) for split in SPLITS}
        self.too_early, self.forgotten = 0, 0
        self.cut = {slot.name: 0 for slot in self.layout.slots}
        self.missing = np.zeros(len(self.numerics), bool)
        self.shape = {
            "numerics": len(self.numerics),
            "categoricals": len(self.categoricals),
            "segments": len(config.segments),
            "tokens": self.layout.width,
            "ages": self.layout.ages,
            "exports": len(exports),
        }

    def fit(self, progress: Progress) -> None:
        """Fits the transforms on the training rows."""
        config = self.log.config
        names = [*config.categoricals, *config.numerics, *(name for columns in config.counts for name in columns)]
        done, total = 0, max(self.log.rows, 1)
        for block in self._blocks([config.time_column, *names]):
            train = self.windows.split(self.log.times(block)) == 0
            for transform in self.transforms:
                transform.see(block, train)
            done += len(train)
            progress("fit", done / total)
        for transform in self.transforms:
            transform.fit()

    def encode(self, directory: Path, progress: Progress) -> None:
        """Writes the records of all splits. Raises DataError for what the log has no right to hold."""
        done, total = 0, max(self.log.rows, 1)
        require_disk(directory, total * record_type(**self.shape).itemsize, "ranker: the prepared impressions")
        with ExitStack() as stack:
            files = [stack.enter_context((directory / f"{name}.bin").open("wb")) for name in SPLITS]
            for block in self._blocks():
                records, splits = self.records(block), self.windows.split(self.log.times(block))
                for index, name in enumerate(SPLITS):
                    self._write(files[index], name, records[splits == index])
                done += len(records)
                progress("encode", done / total)
        self.forgotten = self.log.rows - done - self.log.bad.dropped - self.log.left_out

    def _blocks(self, columns: Sequence[str] | None = None) -> Iterator[LogBlock]:
        """The log's, with what was counted beside the columns."""
        for block in self.log.blocks(columns):
            yield block if self.counts_before is None else self.counts_before.joined(block, self.log.times(block))

    @property
    def fitted(self) -> Fitted:
        return Fitted([one.fitted for one in self.categoricals], [one.fitted for one in self.numerics])

    def summary(self, key: str, splits: Sequence[str]) -> Summary:
        """Raises DataError where one of the `splits` is empty or has labels of one class."""
        self._require_labels(splits)
        return Summary(
            key=key,
            shape=self.shape,
            vocabularies=[categorical.width for categorical in self.categoricals],
            missing=self.missing.tolist(),
            counts=self.counts,
            left_out=self.log.left_out,
            counted=list(self.log.config.count_features),
            windows=self.windows.report(),
            mended={what: count for what, count in self._mended().items() if count},
            match_rates={
                name: {slot: rate.report() for slot, rate in slots.items()} for name, slots in self.rates.items()
            },
        )

    def _mended(self) -> dict[str, int]:
        clipped = {f"{one.name} clipped to {LARGEST:g}": one.clipped for one in self.numerics}
        cut = {f"lists of {slot.name} cut to {slot.width} ids": self.cut[slot.name] for slot in self.layout.slots}
        dropped = {f"rows dropped, as {reason}": count for reason, count in self.log.bad.reasons.items()}
        return {
            "conversions before their impression dropped": self.too_early,
            "impressions of forgotten ids left out": self.forgotten,
            **dropped,
            **cut,
            **clipped,
        }

    def records(self, block: LogBlock) -> Records:
        """The rows of a block, encoded, (N,)."""
        records = np.zeros(len(block.table), record_type(**self.shape))
        labels = self.log.config.labels
        records["click"] = self.log.clicks(block) if labels.click else UNKNOWN
        records["conversion"] = self.log.conversions(block) if labels.conversion else UNKNOWN
        self.too_early += self.log.conversions_too_early(block)
        for index, categorical in enumerate(self.categoricals):
            records["categoricals"][:, index] = categorical.encode(block)
        for index, numeric in enumerate(self.numerics):
            records["numerics"][:, index] = numeric.encode(block)
        self._join(block, records)
        for index, name in enumerate(self.log.config.segments):
            records["segments"][:, index] = self._segment(block, name, records)
        return records

    def _join(self, block: LogBlock, records: Records) -> None:
        for slot in self.layout.slots:
            joined = join_slot(block, slot, list(self.exports.values()), self.log.forgotten)
            self.cut[slot.name] += joined.cut
            records["hashes"][:, slot.tokens] = joined.hashes
            records["rows"][:, :, slot.tokens] = joined.rows.transpose(1, 0, 2)
            if slot.ages is not None:
                listed = joined.hashes != NO_ID  # a forgotten event has no age
                records["ages"][:, slot.ages] = age_buckets(self.log.ages(block, slot.name)) * listed
            for layer, name in enumerate(self.exports):
                if slot.type is not None:
                    self.rates[name][slot.name].add(joined.hashes, joined.rows[layer])
        records["user"] = records["hashes"][:, self.layout.slot(self.log.config.user).first]

    def _segment(self, block: LogBlock, name: str, records: Records) -> NDArray[np.bool_]:
        segment = self.log.config.segments[name]
        if segment.unknown is not None:
            return (records["rows"][:, :1, self.layout.slot(segment.unknown).first] == ABSENT).all(axis=1)
        assert segment.column is not None and segment.at_most is not None
        return numbers(block, segment.column) <= segment.at_most

    def _write(self, file: Any, name: str, records: Records) -> None:
        records.tofile(file)
        known = judged("cvr", records["click"], records["conversion"])
        converted = known & (records["conversion"] == 1)
        found = (len(records), (records["click"] == 1).sum(), converted.sum(), known.sum())
        for key, count in zip(self.counts[name], found, strict=True):
            self.counts[name][key] += int(count)
        if name == "train":
            self.missing |= np.isnan(records["numerics"]).any(axis=0)

    def _require_labels(self, splits: Sequence[str]) -> None:
        lines: list[str] = []
        for split in splits:
            counts = self.counts[split]
            if not counts["rows"]:
                lines.append(f"ranker.split: {split} is empty (the log spans {self.windows.span})")
                continue
            for name, positives, rows, unknown in self._classes(counts):
                if not 0 < positives < rows:
                    doubt = f"; of {unknown} more it is not known (null, or open at ranker.labels.observed_until)"
                    found = f"{name}: {positives} of {rows} {split} rows are 1, expected both classes"
                    lines.append(found + doubt if unknown else found)
        if lines:
            raise DataError(*lines)

    def _classes(self, counts: dict[str, int]) -> Sequence[tuple[str, int, int, int]]:
        """Of each label its column, how many rows are 1, of how many it is known, and of how many not."""
        labels = self.log.config.labels
        found = []
        if labels.click:
            found.append((labels.click, counts["clicks"], counts["rows"], 0))
        if labels.conversion:
            shown = counts["clicks"] if labels.click else counts["rows"]
            found.append((labels.conversion, counts["conversions"], counts["known"], shown - counts["known"]))
        return found


def prepare(
    log: ImpressionLog,
    windows: Windows,
    exports: Mapping[str, Embeddings],
    key: str,
    directory: Path,
    progress: Progress,
    splits: Sequence[str] = SPLITS,
) -> Summary:
    """Makes the records of a log in `directory`, unless they are there already.

    Raises DataError for bad rows, for files that change meanwhile, and where one of the `splits` is empty or has labels
    of one class.
    """
    if (summary := Summary.load(directory, key)) is not None:
        return summary
    directory.mkdir(parents=True, exist_ok=True)
    remove_counts(directory)
    with log.unchanged():
        counts = count_log(log, directory, progress) if log.config.counts else None
        preparation = Preparation(log, windows, exports, counts)
        preparation.fit(progress)
        preparation.encode(directory, progress)
    write_json(directory / TRANSFORMS, asdict(preparation.fitted))
    summary = preparation.summary(key, splits)
    summary.save(directory)
    return summary
