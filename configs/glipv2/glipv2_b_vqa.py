# GLIPv2-B on VQA v2; everything that glipv2_t_vqa.py says holds here:
#   bash tools/dist_train.sh configs/glipv2/glipv2_b_vqa.py 8 --cfg-options load_from=CHECKPOINT
_base_ = [
    '../_base_/models/glipv2_b.py', '../_base_/datasets/vqa.py', '../_base_/schedules/adamw_epochs.py',
    '../_base_/runtime.py'
]

model = dict(
    backbone=dict(grad_checkpointing=True),
    language_model=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
    vqa_head=dict(type='VQAHead', text_channels=512, num_answers=3129, answers=_base_.answers),
    frozen_parts=('bbox_head', ))

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(vqa_head=dict(lr_mult=5.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[8, 11], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=16, enable=False)
