# Fine-tunes the quickstart checkpoint on real photos of raccoons (COCO json; see the data base for the layout):
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_raccoon.py 2
#   bash tools/dist_test.sh configs/glipv2/glipv2_nano_raccoon.py CHECKPOINT 2 --show-dir pictures
_base_ = [
    '../_base_/models/glipv2_nano.py',
    '../_base_/datasets/raccoon.py',
    '../_base_/schedules/nano.py',
    '../_base_/runtime.py',
]

load_from = 'work_dirs/quickstart/iter_2600.pth'

max_iters = 400
train_cfg = dict(max_iters=max_iters, val_interval=100)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50, eta_min_ratio=0.02),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=100))
log_processor = dict(by_epoch=False)
