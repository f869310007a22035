# GLIPv2-mini, last stage: the weights of glipv2_mini_pretrain.py, without masked words, on boxes alone, at 320 px:
#   bash tools/dist_train.sh configs/glipv2/glipv2_mini_pretrain_stage2.py 2
# Its averaged weights are those that ship with the package (tools/ship_mini.py makes the file).
_base_ = [
    '../_base_/models/glipv2_mini.py',
    '../_base_/datasets/photos.py',
    '../_base_/schedules/mini.py',
]

load_from = 'work_dirs/glipv2_mini_pretrain/iter_300.pth'

model = dict(
    inter_loss=dict(type='InterImageContrast', channels=128, text_channels=384, init_log_scale=-2.3, loss_weight=0.25)
)

max_iters = 850
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50, eta_min_ratio=0.02),
]
