# GLIP's optimiser: AdamW, the text encoder at a tenth of the rate, biases at twice the rate and without decay, norm of
# the gradient clipped at 1, mixed precision. bfloat16 is ours, GLIP used float16 (so can you, by dtype).
# Where no GPU is visible, tools/train.py trains in single precision.
max_iters = 330000
base_lr = 1e-4

train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=10000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    constructor='MultiplyingOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=base_lr, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0, norm_type=2),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0, custom_keys=dict(language_model=dict(lr_mult=0.1))),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=False, milestones=[221100, 293700], gamma=0.1),
]
