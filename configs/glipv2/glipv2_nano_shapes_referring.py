# Referring phrases on held-out scenes, with the checkpoint of glipv2_nano_shapes_masks.py as it is, or tuned first:
#   bash tools/dist_test.sh configs/glipv2/glipv2_nano_shapes_referring.py CHECKPOINT 2
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_referring.py 2
_base_ = [
    '../_base_/models/glipv2_nano_mask.py',
    '../_base_/datasets/shapes_referring.py',
    '../_base_/schedules/nano.py',
    '../_base_/runtime.py',
]

load_from = 'work_dirs/glipv2_nano_shapes_masks/iter_500.pth'

max_iters = 500
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50, eta_min_ratio=0.02),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
