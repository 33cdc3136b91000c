"""What a ranking tells on its way: log.jsonl, and a line for each training and validation where no bar is shown."""

from collections.abc import Callable
from dataclasses import asdict

from pipeline.output.console import Console
from pipeline.output.log import log_event
from ranker import ImpressionsPrepared, Report, TrialBegan, TrialEnded, TrialValidated

NAMES = {
    ImpressionsPrepared: "impressions prepared",
    TrialBegan: "trial started",
    TrialValidated: "validation",
    TrialEnded: "trial finished",
}
SHOWN = ("auc", "ne", "calibration")  # of a validation's metrics


def told_by(console: Console) -> Callable[[Report], None]:
    """Logs each report, and says it where the progress bar is not seen."""

    def tell(report: Report) -> None:
        log_event(NAMES[type(report)], **asdict(report))
        if console.hidden:
            console.say(f"rank: {line(report)}")

    return tell


def line(report: Report) -> str:
    """A report in words."""
    if isinstance(report, ImpressionsPrepared):
        return f"{report.rows:,} impressions {'were prepared already' if report.reused else 'prepared'}"
    trial = f"{report.arm} seed {report.seed}:"
    if isinstance(report, TrialBegan):
        return f"{trial} trains"
    if isinstance(report, TrialEnded):
        return f"{trial} {'was trained already' if report.reused else f'trained in {report.seconds:.1f} s'}"
    found = ", ".join(f"{task} {_told(metrics)}" for task, metrics in report.metrics.items())
    return f"{trial} step {report.step:,} of about {report.steps:,}, valid {found}"


def _told(metrics: dict[str, float | None]) -> str:
    return " ".join(f"{name} {value:.4f}" for name in SHOWN if (value := metrics[name]) is not None)
