"""A sample index that knows which draw of the run it is, so that its random augmentation belongs to the draw.

Data loader workers start a resumed run with fresh random states. Seeded per draw instead, a sample is flipped, resized
and prompted in a resumed run exactly as in an uninterrupted one, with any number of workers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


class SampleDraw(int):
    """An index into a data set, drawn as number ``number`` of a run with this ``seed``."""

    number: int
    seed: int

    def __new__(cls, index: int, number: int, seed: int) -> SampleDraw:
        draw = super().__new__(cls, index)
        draw.number = number
        draw.seed = seed
        return draw

    def __getnewargs__(self) -> tuple[int, int, int]:  # how it reaches a worker process
        return int(self), self.number, self.seed


def draw_seed(seed: int, *numbers: int) -> int:
    """32 bits that depend on all numbers; neighbouring numbers give unrelated ones."""
    return int(np.random.SeedSequence((seed, *numbers)).generate_state(1)[0])


@contextmanager
def seeded_by(seed: int) -> Iterator[None]:
    """Python's, numpy's and torch's global random numbers follow from ``seed`` inside; outside they go on as before."""
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    random.seed(seed)
    np.random.seed(seed)
    # not torch.manual_seed: that also touches the GPU, which a worker process must not
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])
