"""Which sample comes next, on which rank."""

from glipv2_mmdet.datasets.samplers.mixed_sampler import MixedSampler
from glipv2_mmdet.datasets.samplers.sample_draw import SampleDraw, draw_seed, seeded_by

__all__ = ['MixedSampler', 'SampleDraw', 'draw_seed', 'seeded_by']
