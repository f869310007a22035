# Boxes for each phrase of given captions, read left to right, by the grounded captioning model: R@1, 5, 10:
#   bash tools/dist_test.sh configs/glipv2/glipv2_nano_shapes_caption_grounding.py \
#       work_dirs/glipv2_nano_shapes_grounded_caption/iter_600.pth 2
_base_ = [
    '../_base_/models/glipv2_nano_caption.py',
    '../_base_/datasets/shapes_grounding_val.py',
    '../_base_/schedules/nano.py',
    '../_base_/runtime.py',
]
