"""The result of a simulation as a table for a person."""

from typing import Any

SHOWN = {"draws": "as drawn", "true_rates": "by true rates"}
CHANGES = ("ctr_lift", "cpc_change", "conversions_per_thousand_change")


def table(report: dict[str, Any]) -> str:
    """For each baseline, two lines an arm: as clicks were drawn, and as they are expected by the true rates."""
    lines = [
        report["label"],
        f"{report['requests']:,} requests of {report['users']:,} people, {report['candidates']} candidates, "
        f"second price, reserve {report['reserve']:g} a click, seed {report['seed']}; 95 % intervals",
    ]
    for base in report["baselines"]:
        lines.append(
            f"{f'simulation, against {base}':<28} {'':<13} "
            f"{'CTR':<8} {'lift':<26} {'CPC':<8} {'change':<26} {'per 1000':<8} {'change':<26} regret"
        )
        lines += [_line(name, arm, by, base) for name, arm in report["arms"].items() for by in SHOWN]
    return "\n".join(lines)


def _line(name: str, arm: dict[str, Any], by: str, base: str) -> str:
    """`per 1000` are conversions per thousand ads that were shown."""
    values = (arm[by]["ctr"], arm[by]["cpc"], arm[by]["conversions_per_thousand"])
    against = arm["against"].get(base, {}).get(by)
    cells = [
        f"{_number(found['value']):<8} {_change(against[change]) if against else '':<26}"
        for found, change in zip(values, CHANGES, strict=True)
    ]
    missing = arm["regret"]["value"]
    regret = f"{missing:.2%}" if by == "true_rates" and missing is not None else ""
    return f"{name:<28} {SHOWN[by]:<13} {' '.join(cells)} {regret}".rstrip()


def _change(found: dict[str, Any]) -> str:
    if found["value"] is None or found["interval"] is None:
        return "-"
    low, high = found["interval"]
    return f"{found['value']:+.2%} [{low:+.2%}, {high:+.2%}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
