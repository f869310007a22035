# Pre-trains a nano GLIPv2 on the embedded "shapes" data in minutes, on two CPU processes:
#   python tools/make_shapes.py && bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_pretrain.py 2
_base_ = [
    '../_base_/models/glipv2_nano.py',
    '../_base_/datasets/shapes_pretrain.py',
    '../_base_/schedules/nano.py',
    '../_base_/runtime.py',
]

default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=_base_.max_iters))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
