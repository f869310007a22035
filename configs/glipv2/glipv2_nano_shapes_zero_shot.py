# Colour-shape pairs that never occurred in training, found by their names:
#   python tools/test.py configs/glipv2/glipv2_nano_shapes_zero_shot.py CHECKPOINT
_base_ = [
    '../_base_/models/glipv2_nano.py',
    '../_base_/datasets/shapes_zero_shot.py',
    '../_base_/schedules/nano.py',
    '../_base_/runtime.py',
]
