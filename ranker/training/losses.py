"""What training minimises: clicks, and conversions by ESMM or from clicks alone."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from ranker.config.sections import RankerConfig
from ranker.data.batch import Batch


def total_loss(answers: Iterable[dict[str, Tensor]], batch: Batch, config: RankerConfig, keep: float) -> Tensor:
    """What a step descends, (): the losses of all tasks in each of the answers (see `RankerModel.trained`)."""
    found: list[Tensor] = []
    for logits in answers:
        found += losses({task: logit.float() for task, logit in logits.items()}, batch, config, keep).values()
    return torch.stack(found).sum()


def losses(logits: dict[str, Tensor], batch: Batch, config: RankerConfig, keep: float) -> dict[str, Tensor]:
    """The loss of each task, a mean over the batch's rows, weighted.

    Training sees the share `keep` of negatives, so there the odds of a positive are 1 / keep of what they are: adding
    log(1 / keep) to the logit in training alone leaves the model itself calibrated.
    """
    offset = -torch.log(torch.tensor(keep))
    known = (batch.conversion >= 0).float()
    found = {}
    if "ctr" in logits:
        found["ctr"] = F.binary_cross_entropy_with_logits(logits["ctr"] + offset, batch.click)
    if "cvr" in logits:
        if "ctr" not in logits:
            each = _cross_entropy(logits["cvr"] + offset, batch.conversion)
        elif config.heads.cvr == "clicks":
            each = _cross_entropy(logits["cvr"], batch.conversion) * batch.click
        else:
            both = F.logsigmoid(logits["ctr"] + offset) + F.logsigmoid(logits["cvr"])
            target = batch.click * batch.conversion
            each = -(target * both + (1 - target) * torch.log1p(-both.exp().clamp(max=1 - 1e-6)))
        found["cvr"] = (each * known).mean()
    weights = {"ctr": config.heads.ctr_weight, "cvr": config.heads.cvr_weight}
    return {task: weights[task] * loss for task, loss in found.items()}


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none")
