"""GroundingOutputs: level sizes."""

import torch

from glipv2_mmdet.structures import GroundingOutputs


def test_level_sizes_are_the_areas_of_the_levels():
    outputs = GroundingOutputs(
        word_logits=torch.zeros(1, 27, 2),
        box_deltas=torch.zeros(1, 27, 4),
        centerness=torch.zeros(1, 27),
        level_shapes=((4, 5), (2, 3), (1, 1)),
    )
    assert outputs.level_sizes == (20, 6, 1)
    assert sum(outputs.level_sizes) == outputs.word_logits.shape[1]
