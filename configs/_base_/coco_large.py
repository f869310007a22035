# What fine-tuning B and H on COCO detection shares: data, schedule, runtime.
_base_ = ['./datasets/coco_detection.py', './schedules/adamw_epochs.py', './runtime.py']

# the 80 names are counted with the vocabulary of the text encoder
train_pipeline = [
    dict(step, vocab='data/clip_vocab') if step['type'] == 'BuildPrompt' else step for step in _base_.train_pipeline
]
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=train_pipeline))

max_epochs = 5
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=5e-6))
# at 67 and 89 % of five epochs, to the next whole one
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[3, 4], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=32, enable=False)
