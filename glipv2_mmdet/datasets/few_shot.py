"""A few images per class, drawn by a seed: the subsets of few-shot tuning.

Source: the public GLIP code's rule for ODinW (k of 1, 3, 5, 10; seeds 3, 30, 300). Its ready-made subset files were
drawn with other random numbers, so the images differ; what they have in common does not.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset

#: GLIP's copies per epoch, so that an epoch of a tiny subset is worth an evaluation; one copy for any other number.
COPIES = {1: 8, 3: 4, 5: 2}


def few_shot_indices(categories: Sequence[Collection[int]], shots: int, seed: int) -> list[int]:
    """Images such that every category is in at least ``shots`` of them, where there are that many.

    Images are shuffled; one is kept while any category in it still lacks images, and then counts for every category
    in it (images are counted, not boxes).

    Args:
        categories: per image the categories in it; an image without any is never kept.
        shots: k, images per category.
        seed: of the shuffle.

    Returns:
        Positions in ``categories``, ascending.

    Raises:
        ValueError: fewer than one shot.
    """
    if shots < 1:
        raise ValueError(f'shots is {shots}; expected 1 or more, or None for all images.')
    order = list(range(len(categories)))
    random.Random(seed).shuffle(order)
    lacking = Counter({category: shots for image in categories for category in image})
    chosen = []
    for index in order:
        present = set(categories[index])
        if any(lacking[category] > 0 for category in present):
            chosen.append(index)
            lacking.subtract(present)
    return sorted(chosen)


@DATASETS.register_module()
class FewShotDataset(Dataset):
    """The few-shot subset of a detection data set, several times per epoch.

    Args:
        dataset: any data set whose records have ``instances`` with ``bbox_label``, such as ``CocoDataset``.
        shots: k, see :func:`few_shot_indices`; None for all images.
        seed: of the subset.
        copies: how often an epoch goes through the subset; by default GLIP's number for ``shots``.

    Raises:
        ValueError: fewer than one shot, or no image with an object.
    """

    def __init__(
        self, dataset: dict | BaseDataset, shots: int | None, seed: int = 3, copies: int | None = None
    ) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.copies = COPIES.get(shots, 1) if copies is None else copies
        self.dataset.full_init()
        if shots is not None:
            records = (self.dataset.get_data_info(index) for index in range(len(self.dataset)))
            chosen = few_shot_indices(
                [{instance['bbox_label'] for instance in record['instances']} for record in records], shots, seed
            )
            if not chosen:
                raise ValueError(
                    f'None of the {len(self.dataset)} images has an object, so there is nothing to draw '
                    'few shots of. Check annotation file and class names.'
                )
            self.dataset.get_subset_(chosen)

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Done already; ``ConcatDataset`` calls it."""

    def get_data_info(self, idx: int) -> dict:
        """The record before the pipeline; batch samplers ask for its size."""
        return self.dataset.get_data_info(idx % len(self.dataset))

    def __getitem__(self, idx: int) -> Any:
        if not 0 <= idx < len(self):  # what ends a loop over the data set
            raise IndexError(f'Sample {idx} of {type(self).__name__} with {len(self)} samples; expected 0 or more.')
        return self.dataset[idx % len(self.dataset)]

    def __len__(self) -> int:
        return self.copies * len(self.dataset)
