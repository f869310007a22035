# Captioning in epochs. The paper gives neither rate nor epochs: 20 epochs with the drops at 67 % and 89 % of its other
# fine-tunings, and a rate at which captioning models of this size are usually tuned.
_base_ = './adamw_epochs.py'

max_epochs = 20
base_lr = 3e-5

train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=base_lr))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[13, 18], gamma=0.1),
]
