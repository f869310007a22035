"""What data sets that read a record only when it is asked for have in common; they fit into mmdet's ``ConcatDataset``.

mmengine's own data sets hold all records in memory, which 16 M pairs do not allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.dataset import Compose
from torch.utils.data import Dataset


class LazyDataset(Dataset):
    """A data set by three things: its length, ``get_data_info(index)``, and the pipeline.

    Args:
        pipeline: transforms, as in mmdet's data sets.
        metainfo: as in mmdet's data sets.
    """

    def __init__(self, pipeline: Sequence[Any] = (), metainfo: dict | None = None) -> None:
        self.pipeline = Compose(list(pipeline))
        self._metainfo = dict(metainfo or {})

    @property
    def metainfo(self) -> dict:
        return self._metainfo

    def full_init(self) -> None:
        """Nothing to do; ``ConcatDataset`` calls it."""

    def get_data_info(self, idx: int) -> dict:
        """The sample before the pipeline; samplers ask for it too."""
        raise NotImplementedError

    def load(self, idx: int) -> dict:
        """The same with what only the pipeline needs."""
        return self.get_data_info(idx)

    def __getitem__(self, idx: int) -> Any:
        if not 0 <= idx < len(self):  # what ends a loop over the data set
            raise IndexError(f'Sample {idx} of {type(self).__name__} with {len(self)} samples; expected 0 or more.')
        return self.pipeline(self.load(idx))
