"""The metrics among drawn candidates, beside those among all, and by how much they flatter.

A rank among 1,000 of a million candidates is a thousandth of the true one, so that nearly every answer is among the
first ten (Krichene and Rendle, KDD 2020). Fewer triples (`evaluate.max_edges`) save as much time, and do not flatter.
"""

from pbg_transra.evaluation.metrics import Metrics


def sampled(protocol: str, found: Metrics, full: Metrics) -> Metrics:
    """Returns the block: `found`, and `flatters`: each metric as a multiple of the full one, None where that is 0."""
    names = [name for name in full if name == "mrr" or name.startswith("hits@")]
    flatters = {name: found[name] / full[name] if full[name] else None for name in names}
    return {"protocol": protocol, **found, "flatters": flatters}
