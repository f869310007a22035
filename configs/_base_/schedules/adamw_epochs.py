# AdamW in epochs with drops at about 67 % and 89 %; the rate is the one the paper fine-tunes GLIPv2-T with, the same
# for the text encoder. Warm-up, decay and clipping are GLIP's: the paper does not give its own.
max_epochs = 24
base_lr = 1e-5

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=base_lr, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0, norm_type=2),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[16, 21], gamma=0.1),
]
