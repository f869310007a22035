# Boxes for each phrase of given captions of new shapes scenes, found by the quickstart checkpoint: R@1, 5, 10:
#   bash tools/dist_test.sh configs/glipv2/glipv2_nano_shapes_grounding.py work_dirs/quickstart/iter_2600.pth 2
_base_ = [
    '../_base_/models/glipv2_nano.py',
    '../_base_/datasets/shapes_grounding_val.py',
    '../_base_/schedules/nano.py',
    '../_base_/runtime.py',
]
