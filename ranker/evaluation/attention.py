"""What an arm attends to, as means over the first test rows: the tokens of its context, and the places of its lists."""

from typing import Any

from ranker.data.batch import Batch
from ranker.data.records import Split
from ranker.model.ranker_model import RankerModel

ROWS = 4096  # as many test rows, the earliest


def mean_attention(model: RankerModel, split: Split, export: int) -> dict[str, Any] | None:
    """Returns mean weights over heads and rows; None for an arm without attention, and for a split without rows.

    context             by slot: they sum to 1
    lists.<slot>        over rows with something in the list: `rows`, `empty` (of the learned vector that stands for an
                        empty list) and `places`, of the events in the log's order; they and `empty` sum to 1
    """
    if model.attention is None or not len(split):
        return None
    model.eval()
    batch = Batch.of(split.read(0, min(ROWS, len(split))), export).to(next(model.parameters()).device)
    weights = {name: found.mean(dim=1) for name, found in model.attention_weights(batch).items()}
    names = [slot.name for slot in model.attention.singles + model.attention.lists]
    context = weights.pop("context").mean(dim=0).tolist()
    lists = {}
    for name, found in weights.items():
        filled = found[found[:, 1:].sum(dim=1) > 0]
        if len(filled):
            empty, *places = filled.mean(dim=0).tolist()
            lists[name] = {"rows": len(filled), "empty": empty, "places": places}
    return {"context": dict(zip(names, context, strict=True)), "lists": lists}
