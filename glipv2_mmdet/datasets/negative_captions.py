"""Gives image-text pairs the captions of other pairs as negatives; ``BuildPrompt`` packs them into the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.registry import DATASETS

from glipv2_mmdet.datasets.lazy import LazyDataset


@DATASETS.register_module()
class WithNegativeCaptions(LazyDataset):
    """Pairs whose samples carry ``negative_captions``: captions of random other rows of the same file.

    With ``none_probability`` there are none; else with ``full_probability`` there are ``max_captions``, else a random
    smaller number (0 included). The defaults are GLIP's, used for GLIP-L. Gold grounding data gets none in GLIP.
    Random numbers come from numpy's global state, as in ``BuildPrompt``.

    Args:
        dataset: :class:`IndexedODVGDataset` or :class:`TSVPairs` (config or object); its own pipeline is not used.
        pipeline: transforms, with ``BuildPrompt``.
        none_probability, full_probability: 0 to 1.
        max_captions: most captions that are drawn; the token limit decides how many stay.

    Raises:
        ValueError: probabilities or a number that are out of range.
        TypeError: a data set whose captions cannot be read by number, such as a stream.
    """

    def __init__(
        self,
        dataset: Any,
        pipeline: Sequence[Any] = (),
        none_probability: float = 0.4,
        full_probability: float = 0.5,
        max_captions: int = 20,
    ) -> None:
        if not (0 <= none_probability <= 1 and 0 <= full_probability <= 1 and max_captions >= 1):
            raise ValueError(
                f'none_probability is {none_probability}, full_probability {full_probability}, '
                f'max_captions {max_captions}; expected 0 to 1, 0 to 1, and at least 1.'
            )
        super().__init__(pipeline)
        self.dataset = DATASETS.build({**dataset, 'pipeline': []}) if isinstance(dataset, Mapping) else dataset
        if not hasattr(self.dataset, 'get_caption'):
            raise TypeError(
                f'{type(self.dataset).__name__} cannot give the caption of any row. Expected '
                'IndexedODVGDataset or TSVPairs.'
            )
        self.none_probability = none_probability
        self.full_probability = full_probability
        self.max_captions = max_captions

    def __len__(self) -> int:
        return len(self.dataset)

    def get_data_info(self, idx: int) -> dict:
        return self.dataset.get_data_info(idx)

    def load(self, idx: int) -> dict:
        sample = self.dataset.load(idx)
        sample['negative_captions'] = [self.dataset.get_caption(row) for row in self._other_rows(int(idx))]
        return sample

    def _other_rows(self, row: int) -> list[int]:
        """Rows but this one."""
        if len(self) < 2 or np.random.rand() < self.none_probability:
            return []
        is_full = np.random.rand() < self.full_probability
        count = self.max_captions if is_full else np.random.randint(self.max_captions)
        others = np.random.randint(len(self) - 1, size=count)
        return (others + (others >= row)).tolist()
