"""What a command came to, as a file for the textfile collector of Prometheus' node_exporter."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Sample(NamedTuple):
    """A value of a metric, and its labels."""

    metric: str
    labels: Mapping[str, str]
    value: float


HELP = {
    "transra_exit_code": "Exit code of the last command that makes stages; 0 is done or up to date.",
    "transra_end_timestamp_seconds": "When it ended.",
    "transra_seconds": "How long it took.",
    "transra_published_timestamp_seconds": "When the published run was published.",
    "transra_metric": "Numbers of metrics.json of the published run, by stage and key.",
}


def samples_of(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[Sample]:
    """The numbers that a run's stages have at the top of their metrics."""
    for stage, found in metrics.items():
        for name, value in found.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield Sample("transra_metric", {"stage": stage, "name": name}, value)


def exposition(config: str, samples: Iterable[Sample]) -> str:
    """The samples in Prometheus' text format, each metric with its help; every one has the label `config`."""
    by_metric: dict[str, list[str]] = {}
    for metric, labels, value in samples:
        written = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in {"config": config, **labels}.items())
        by_metric.setdefault(metric, []).append(f"{metric}{{{written}}} {value!r}")
    return "".join(
        f"# HELP {metric} {HELP[metric]}\n# TYPE {metric} gauge\n" + "".join(f"{line}\n" for line in lines)
        for metric, lines in by_metric.items()
    )
