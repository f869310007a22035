# Schedule of GLIPv2-mini: one cycle over 2,000 steps of 8 photos, averaged weights. Brings the runtime.
_base_ = '../runtime.py'

max_iters = 2000

train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=2e-2, fused=True),
    clip_grad=dict(max_norm=5.0, norm_type=2),
    # the image encoder knows photos already
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.2))),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=max_iters, T_max=max_iters - 100, eta_min_ratio=0.02),
]

custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.003, gamma=100, priority=49)]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=200))
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=8, enable=False)
randomness = dict(seed=0)
