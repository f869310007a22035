# What VQA v2 at all scales shares: data, schedule, runtime. Rates, epochs and batch are published nowhere: chosen here.
_base_ = ['./datasets/vqa.py', './schedules/adamw_epochs.py', './runtime.py']

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(vqa_head=dict(lr_mult=5.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[8, 11], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=16, enable=False)
