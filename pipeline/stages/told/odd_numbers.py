"""What a person should hear of a stage's numbers that are no failure and yet not what a working model gives."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST_UNTRAINED = 0.5  # share of the held-out edges; beyond it they judge what nobody can know
COIN = 0.5  # the AUC of a ranking that knows nothing
LATER = "; later times in graph.split.time, by hours rather than days, hold out less of what is new"


def odd_evaluation(metrics: Mapping[str, Any], by_time: bool) -> Iterator[str]:
    """Yields a line where most held-out edges have an end that training has not, and one for an AUC below chance.

    `by_time`: whether graph.split goes by time.
    """
    if not metrics.get("triples"):
        return
    count, cold, auc, split = metrics["triples"], metrics["cold"], metrics["auc"], metrics["split"]
    if cold["triples"] > MOST_UNTRAINED * count:
        yield (
            f"{cold['triples'] / count:.1%} of the {count:,} {split} edges have an end without a training edge"
            f"{_of_types(metrics)}, so nothing is known of it: mrr {_number(metrics['warm'].get('mrr'))} for the "
            f"others, {cold['mrr']:.4f} for these{LATER if by_time else ''}"
        )
    # A mean of numbers between 0 and 1 has a standard error of at most 0.5 / sqrt(count).
    if auc is not None and auc < COIN - count**-0.5:
        yield f"AUC {auc:.4f} is below {COIN}: held-out edges rank behind random ones, {_why(metrics, by_time)}"


def odd_retrieval(measure: str, rows: Sequence[tuple[str, int, float, float | None]], most: int) -> Iterator[str]:
    """Yields a line for each relation whose tails popularity finds better than the vectors do, beyond chance.

    `rows` are relation, queries, what the vectors reach and what popularity does, which asks `most` heads at most.
    """
    for name, queries, reached, popular in rows:
        # Two standard errors, as for the AUC.
        if popular is not None and popular - reached > min(queries, most) ** -0.5:
            yield (
                f"the tails of '{name}' are found better by how popular they are, {measure} {popular:.4f}, than by the "
                f"vectors, {reached:.4f}; `transra tune` chooses settings by the valid split"
            )


def odd_ranking(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each task with arms whose test AUC has an interval that lies below chance."""
    for task in ("ctr", "cvr"):
        arms = {name: arm[task] for name, arm in metrics["arms"].items() if task in arm}
        below = [
            f"{name} {found['auc']:.4f} [{low:.4f}, {high:.4f}]"
            for name, found in arms.items()
            for low, high in [found["intervals"]["auc"] or (COIN, COIN)]
            if high < COIN
        ]
        if below:
            yield (
                f"{task}: the test AUC of {', '.join(below)} lies below {COIN}: what the arm learned before "
                f"{metrics['windows']['test_from']} is the other way round from then on, as where the ads that are "
                "clicked are new by then; later times in ranker.split and graph.split.time leave less time between"
            )


def _of_types(metrics: Mapping[str, Any]) -> str:
    """The types whose ends lack training edges, with their shares."""
    shares = {name: found["untrained"] / found["ends"] for name, found in metrics.get("ends", {}).items()}
    listed = ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if share)
    return f" ({listed})" if listed else ""


def _why(metrics: Mapping[str, Any], by_time: bool) -> str:
    """Why an AUC is below chance, by that of the edges with both ends in training."""
    warm = metrics["warm"].get("auc")
    if warm is not None and warm >= COIN:
        return f"since an end without a training edge ranks last ({warm:.4f} where training has both ends)"
    way = (
        "; later times in graph.split.time, or half_life_days in its relation, bring training closer" if by_time else ""
    )
    known = f" ({_number(warm)} where training has both ends)"
    return f"as where what was popular in training no longer is{known}{way}"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"
