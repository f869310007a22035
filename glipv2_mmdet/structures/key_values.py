"""What a text layer remembers of the words read so far, so that the next word costs one word."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class KeyValues:
    """Keys and values of one layer.

    Attributes:
        keys: (R, N, T, D), R texts that grow word by word.
        values: (R, N, T, D).
    """

    keys: Tensor
    values: Tensor

    def extended(self, keys: Tensor, values: Tensor) -> KeyValues:
        """With the words (R, N, T', D) behind them."""
        return KeyValues(torch.cat((self.keys, keys), dim=2), torch.cat((self.values, values), dim=2))

    def select(self, rows: Tensor) -> KeyValues:
        """Rows (R',) of the texts, in that order; a row may be taken several times."""
        return KeyValues(self.keys[rows], self.values[rows])
