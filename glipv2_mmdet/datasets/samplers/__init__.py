"""Which sample comes next, on which rank."""

from .mixed_sampler import MixedSampler
from .sample_draw import SampleDraw, draw_seed, seeded_by

__all__ = ['MixedSampler', 'SampleDraw', 'draw_seed', 'seeded_by']
