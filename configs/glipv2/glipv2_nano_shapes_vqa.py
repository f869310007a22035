# Questions about shapes at laptop scale, second part: all kinds, also two things compared. Accuracy on new scenes:
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_vqa_looks.py 2
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_vqa.py 2
_base_ = './glipv2_nano_shapes_vqa_looks.py'

load_from = f'work_dirs/glipv2_nano_shapes_vqa_looks/iter_{_base_.max_iters}.pth'
train_dataloader = dict(dataset=dict(only_types=None))

max_iters = 3000
train_cfg = dict(max_iters=max_iters, val_interval=500)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50, eta_min_ratio=0.02),
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
