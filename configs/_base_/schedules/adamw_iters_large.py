# The optimiser of the B and H scales. A million steps, the text encoder at the rate of the rest, drops at 67 and 89 %
# are the paper's. Weight decay and its drops, each at 0.667 of one of the rate's, are the released GLIP-L config's.
_base_ = './adamw_iters.py'

max_iters = 1000000
milestones = [670000, 890000]
decay_milestones = [446890, 593630]

train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.01), paramwise_cfg=dict(custom_keys=dict(language_model=dict(lr_mult=1.0)))
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=False, milestones=milestones, gamma=0.1),
    dict(
        type='MultiStepParamScheduler',
        param_name='weight_decay',
        by_epoch=False,
        milestones=decay_milestones,
        gamma=0.1,
    ),
]
