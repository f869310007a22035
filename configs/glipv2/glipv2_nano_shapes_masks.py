# Second stage at laptop scale: trains the mask head alone on the quickstart checkpoint, box and mask AP on new scenes:
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_masks.py 2
_base_ = [
    '../_base_/models/glipv2_nano_mask.py',
    '../_base_/datasets/shapes_masks.py',
    '../_base_/schedules/nano.py',
    '../_base_/runtime.py',
]

load_from = f'work_dirs/quickstart/iter_{_base_.max_iters}.pth'
model = dict(frozen_parts=('backbone', 'language_model', 'neck', 'fusion', 'bbox_head'))

max_iters = 500
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50, eta_min_ratio=0.02),
]
# averages by interpolation: weights that stand still keep their last bit, which mmdet's average rounds away
custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.01, priority=49)]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
