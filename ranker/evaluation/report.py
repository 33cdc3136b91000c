"""The tree of metrics as a table for a person."""

from typing import Any


def table(report: dict[str, Any]) -> str:
    """One line per arm: AUC with its interval, normalised entropy and calibration by task, and the parameters."""
    lines = [f"{'arm':<28} {'task':<4} {'AUC':<24} {'gAUC':<7} {'NE':<7} {'calibration':<11} parameters"]
    for name, arm in report["arms"].items():
        budget = " + ".join(f"{count:,} {part}" for part, count in arm["parameters"].items() if count)
        for task in ("ctr", "cvr"):
            if task in arm:
                found = arm[task]
                low, high = found["intervals"]["auc"] or (float("nan"),) * 2
                auc = f"{_number(found['auc'])} [{low:.4f}, {high:.4f}]"
                cells = f"{auc:<24} {_number(found['gauc']):<7} {_number(found['ne']):<7} "
                lines.append(f"{name:<28} {task:<4} {cells}{_number(found['calibration']):<11} {budget}")
                budget = ""
    return "\n".join([*lines, rows_line(report), *match_lines(report)])


def rows_line(report: dict[str, Any]) -> str:
    """How many impressions each split has, and how many rows `ranker.where` left out."""
    splits = ", ".join(f"{name} {counts['rows']:,}" for name, counts in report["rows"].items())
    left_out = f"; {report['rows_left_out']:,} rows left out by ranker.where" if report["rows_left_out"] else ""
    return f"impressions: {splits}{left_out}"


def match_lines(report: dict[str, Any]) -> list[str]:
    """The share of each slot's traffic, and of its distinct ids, that each export knows; and what was mended."""
    lines = [
        f"match rate {export}: " + ", ".join(_match(slot, rate) for slot, rate in slots.items())
        for export, slots in report["match_rates"].items()
    ]
    return lines + [f"{what}: {count:,}" for what, count in report["mended"].items()]


def _match(slot: str, rate: dict[str, Any]) -> str:
    without = f", {rate['rows_without_id']:.1%} of rows without an id" if rate["rows_without_id"] else ""
    return f"{slot} {rate['traffic']:.1%} (distinct ids {rate['ids']:.1%}{without})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
