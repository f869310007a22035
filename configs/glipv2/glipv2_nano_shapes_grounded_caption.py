# Captions of shapes whose phrases and words are found in the image, from the quickstart checkpoint:
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_grounded_caption.py 2
_base_ = [
    '../_base_/models/glipv2_nano_caption.py',
    '../_base_/datasets/shapes_grounded_caption.py',
    '../_base_/schedules/nano.py',
    '../_base_/runtime.py',
]

load_from = f'work_dirs/quickstart/iter_{_base_.max_iters}.pth'

max_iters = 600
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50, eta_min_ratio=0.02),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
