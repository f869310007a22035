# GLIPv2-T on PhraseCut, the whole network, from a second-stage checkpoint (12 epochs at 1e-5); then the test split:
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_phrasecut.py 8 --cfg-options load_from=CHECKPOINT
#   bash tools/dist_test.sh configs/glipv2/glipv2_t_phrasecut.py CHECKPOINT 8
_base_ = [
    '../_base_/models/glipv2_t_mask.py',
    '../_base_/datasets/phrasecut.py',
    '../_base_/schedules/adamw_epochs.py',
    '../_base_/runtime.py',
]

model = dict(backbone=dict(grad_checkpointing=True), fusion=dict(grad_checkpointing=True))

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[8, 11], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=32, enable=False)
