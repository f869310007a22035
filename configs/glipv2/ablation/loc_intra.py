# Ablation on "shapes", row 3 of 6: localisation and region-word loss alone, which is GLIP.
#   bash tools/dist_train.sh configs/glipv2/ablation/loc_intra.py 2 --cfg-options randomness.seed=0
_base_ = '../glipv2_nano_shapes_pretrain.py'

# a fifth of the quickstart: every row three times fits into an hour
max_iters = 500
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50, eta_min_ratio=0.02),
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
