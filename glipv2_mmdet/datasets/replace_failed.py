"""The outermost data set of a training: replaces samples that fail to load, and stops when too many do.

One broken JPEG in millions must not end a run of days; a wrong image folder must.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from mmdet.registry import DATASETS
from mmengine.logging import print_log
from torch import Tensor
from torch.utils.data import Dataset

from glipv2_mmdet.datasets.samplers.sample_draw import SampleDraw, draw_seed, seeded_by

#: What broken files and records raise: missing or cut-off files and records (OSError, EOFError, ValueError with
#: ODVGError and PromptError), an image that cannot be decoded (mmcv asserts; Pillow's PNG reader says SyntaxError). A
#: KeyError or TypeError is a mistake in a pipeline and stops the run.
LOAD_ERRORS = (OSError, EOFError, ValueError, AssertionError, SyntaxError, cv2.error)


class TooManyFailures(RuntimeError):
    """More samples fail to load than the config allows."""


@DATASETS.register_module()
class ReplaceFailedSamples(Dataset):
    """Another sample of the same part stands in for one that fails; failures are logged and counted.

    Counts are per process (each data loader worker judges what it reads). A sample drawn by ``MixedSampler`` is loaded
    with the random numbers of its draw, so a resumed run repeats augmentation, failures and replacements.

    Args:
        dataset: data set (config or object), usually a ``ConcatDataset``.
        max_failed_share: failures per draw that are allowed, 0 to 1.
        patience: draws before the share is judged in full: until then ``max_failed_share * patience`` may fail.

    Raises:
        ValueError: a share or patience that is out of range.
        TooManyFailures: on reading; names the counts and the last sample and error.
    """

    def __init__(self, dataset: Any, max_failed_share: float = 0.01, patience: int = 1000) -> None:
        if not 0 <= max_failed_share <= 1 or patience < 1:
            raise ValueError(
                f'max_failed_share is {max_failed_share}, patience {patience}; expected 0 to 1, and at least 1 draw.'
            )
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        self.max_failed_share = max_failed_share
        self.patience = patience
        self.num_draws = self.num_failures = 0

    @property
    def metainfo(self) -> dict:
        """What all parts agree on. A ``ConcatDataset`` of unequal ones has a list, which mmdet cannot read back from
        a checkpoint; names come with the prompts anyhow."""
        found = self.dataset.metainfo
        if isinstance(found, Mapping):
            return found
        first, *others = found
        return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}

    @property
    def cumulative_sizes(self) -> list[int]:
        """Where the parts end; one part for a data set that is no concatenation."""
        return getattr(self.dataset, 'cumulative_sizes', [len(self.dataset)])

    def full_init(self) -> None:
        self.dataset.full_init()

    def get_data_info(self, idx: int) -> dict:
        return self.dataset.get_data_info(idx)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, idx: int) -> Any:
        if isinstance(idx, SampleDraw):
            with seeded_by(draw_seed(idx.seed, idx.number)):
                return self._load(idx)
        return self._load(idx)

    def _load(self, idx: int) -> Any:
        self.num_draws += 1
        index = int(idx)
        while True:
            try:
                sample = self.dataset[index]
            except LOAD_ERRORS as error:
                self._count(index, error)
            else:
                if sample is None:
                    self._count(index, ValueError('the pipeline returned None'))
                elif (shape := _image_shape(sample)) is not None and shape[0] != 3:
                    # OpenCV reads some files as gray whatever it was asked for; the whole batch would fail on it
                    self._count(
                        index, ValueError(f'its image has {shape[0]} channels (shape {tuple(shape)}), expected 3')
                    )
                else:
                    return sample
            index = self._other(idx)

    def _other(self, idx: int) -> int:
        """A random index of the same part, so that the mixing ratio stays."""
        ends = self.cumulative_sizes
        part = int(np.searchsorted(ends, int(idx), side='right'))
        return int(np.random.randint(ends[part - 1] if part else 0, ends[part]))

    def _count(self, index: int, error: Exception) -> None:
        self.num_failures += 1
        what = f'Sample {index} failed to load ({type(error).__name__}: {error})'
        if self.num_failures > self.max_failed_share * max(self.num_draws, self.patience):
            raise TooManyFailures(
                f'{what}. That is failure {self.num_failures} in {self.num_draws} samples of this process; allowed is '
                f'a share of {self.max_failed_share:g}. Check paths and files with tools/dataset_converters/'
                'check_odvg.py, or raise max_failed_share.'
            ) from error
        print_log(
            f'{what}; another one takes its place. {self.num_failures} of {self.num_draws} so far in this process.',
            logger='current',
            level=logging.WARNING,
        )


def _image_shape(sample: Any) -> tuple[int, ...] | None:
    """(channels, height, width) of a packed sample; None for anything else."""
    inputs = sample.get('inputs') if isinstance(sample, Mapping) else None
    return tuple(inputs.shape) if isinstance(inputs, Tensor) and inputs.ndim == 3 else None
