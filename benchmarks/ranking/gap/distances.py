"""How far graph vectors lie from the ranker's own ID table, slot by slot, before and after the adapter.

The adapter adds an id's embedding, brought to its width and gated, to the adapted vector: these are the two clouds.
Each is looked at at its own scale (lengths), and then at one scale (the shape of covariances, MMD).
"""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ranker.data.batch import Batch
from ranker.data.records import Split
from ranker.model.attention.layers import Adapter
from ranker.model.attention.principal_axes import normed
from ranker.model.ranker_model import RankerModel

ENTITIES = 1000  # of a slot, at most
ROWS = 1 << 16  # of the log, from which they are taken


@torch.no_grad()
def distances(model: RankerModel, split: Split, layer: int) -> Iterator[dict[str, Any]]:
    """For each slot of one id: lengths, effective dimensions and distances of its graph vectors and ID embeddings."""
    model.eval()
    attention, ids = model.attention, model.ids
    assert attention is not None and ids is not None
    records = split.read(0, ROWS)
    for slot in attention.singles:
        of_slot = records["rows"][:, layer, slot.first]
        first = np.unique(of_slot, return_index=True)[1]
        first = first[of_slot[first] >= 0][:: max(len(first) // ENTITIES, 1)]
        batch = Batch.of(records[np.sort(first)], layer)
        embedded = ids(batch.hashes)[:, attention.places[slot.name]]
        raw = attention.table(str(slot.type), batch.rows[:, slot.tokens])[:, 0]
        adapter = cast(Adapter, attention.adapters[slot.name])
        yield {"slot": slot.name, "entities": len(first), **_measured(adapter, raw, embedded)}


def _measured(adapter: Adapter, raw: Tensor, embedded: Tensor) -> dict[str, Any]:
    """`raw` (N, D) graph vectors and `embedded` (N, I) IDs of a slot's entities."""
    assert adapter.id_value is not None and adapter.id_gate is not None
    known = torch.ones(len(raw), 1)
    gate = torch.sigmoid(adapter.id_gate(torch.cat([embedded, known], dim=1)))
    clouds = {"before": raw, "after": adapter.linear(normed(raw)), "ids": gate * adapter.id_value(embedded)}
    found: dict[str, Any] = {}
    for name, cloud in clouds.items():
        lengths = cloud.norm(dim=1)
        found[name] = {"length": lengths.mean().item(), "spread": (lengths.std() / lengths.mean()).item()}
        found[name]["dimensions"] = effective_dimension(cloud)
    for name in ("before", "after"):
        found[name]["covariance"] = covariance_distance(clouds[name], clouds["ids"])
        found[name]["mmd"] = mmd(clouds[name], clouds["ids"])
    return found


def effective_dimension(cloud: Tensor) -> float:
    """(N, D) -> the participation ratio of the covariance's eigenvalues, from 1 to D."""
    covariance = torch.cov(cloud.T)
    return float(covariance.trace().square() / covariance.square().sum().clamp(min=1e-30))


def covariance_distance(one: Tensor, other: Tensor) -> float:
    """Frobenius distance of two covariances over the root of the product of their norms: 0 for equal shapes."""
    first, second = (torch.cov(cloud.T) for cloud in (one, other))
    first, second = first / first.norm(), second / second.norm()
    return float((first - second).norm())


def mmd(one: Tensor, other: Tensor) -> float:
    """Maximum mean discrepancy of two clouds (N, D), (M, D), each brought to a mean square length of 1.

    Of a Gaussian kernel as wide as the median distance of all (arXiv 0805.2368), biased: from 0 to 1.41.
    """
    both = torch.cat([cloud / cloud.square().sum(dim=1).mean().sqrt() for cloud in (one, other)])
    squared = torch.cdist(both, both).square()
    kernel = torch.exp(-squared / squared[squared > 0].median())
    count = len(one)
    within = kernel[:count, :count].mean() + kernel[count:, count:].mean()
    return float((within - 2 * kernel[:count, count:].mean()).clamp(min=0).sqrt())


def table(found: list[dict[str, Any]]) -> str:
    """Markdown, a line for each slot."""
    heads = ["slot", "length: graph, adapted, IDs", "effective dimensions: graph, adapted, IDs"]
    heads += ["covariance to the IDs': before, after", "MMD to the IDs: before, after"]
    rows = [heads, ["---"] * len(heads)]
    for one in found:
        clouds, adapted = [one[name] for name in ("before", "after", "ids")], [one["before"], one["after"]]
        rows.append(
            [
                f"`{one['slot']}`",
                ", ".join(f"{cloud['length']:.2f}" for cloud in clouds),
                ", ".join(f"{cloud['dimensions']:.1f}" for cloud in clouds),
                ", ".join(f"{cloud['covariance']:.2f}" for cloud in adapted),
                ", ".join(f"{cloud['mmd']:.2f}" for cloud in adapted),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
