# Captions of new shapes scenes in minutes, on two CPU processes, from the quickstart checkpoint:
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_caption.py 2
_base_ = [
    '../_base_/models/glipv2_nano_caption.py',
    '../_base_/datasets/shapes_caption.py',
    '../_base_/schedules/nano.py',
    '../_base_/runtime.py',
]

load_from = f'work_dirs/quickstart/iter_{_base_.max_iters}.pth'
# the words learn to read what the quickstart has learnt to see
model = dict(frozen_parts=('backbone', 'bbox_head'))

max_iters = 1000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50, eta_min_ratio=0.02),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
