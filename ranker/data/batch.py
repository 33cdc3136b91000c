"""One batch as tensors."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ranker.data.records import Records


@dataclass(frozen=True)
class Batch:
    """B impressions; labels are float, and -1 where unknown."""

    click: Tensor  # (B,)
    conversion: Tensor  # (B,)
    numerics: Tensor  # (B, F), NaN where missing
    categoricals: Tensor  # (B, C) int64
    hashes: Tensor  # (B, T) int64, 0 where there is no id
    rows: Tensor  # (B, T) int64, -1 where the export does not know the id
    ages: Tensor  # (B, A) int64, buckets of the ages of listed events, 0 where there is none

    @classmethod
    def of(cls, records: Records, export: int) -> "Batch":
        """From N records, with the rows of the `export`-th export (of none, when there is none)."""
        layers = records["rows"]
        rows = layers[:, export] if layers.shape[1] else np.full_like(records["hashes"], -1, dtype=np.int32)
        return cls(
            click=_tensor(records["click"], np.float32),
            conversion=_tensor(records["conversion"], np.float32),
            numerics=_tensor(records["numerics"], np.float32),
            categoricals=_tensor(records["categoricals"], np.int64),
            hashes=_tensor(records["hashes"], np.int64),
            rows=_tensor(rows, np.int64),
            ages=_tensor(records["ages"], np.int64),
        )

    def to(self, device: torch.device) -> "Batch":
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def __len__(self) -> int:
        return len(self.click)


def _tensor(values: Records, dtype: type) -> Tensor:
    return torch.from_numpy(np.array(values, dtype))
