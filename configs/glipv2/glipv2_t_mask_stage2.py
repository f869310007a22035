# GLIPv2-T, second stage: the mask head alone learns, on COCO, LVIS and PhraseCut (24, 24 and 8 epochs):
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_mask_stage2.py 8 --cfg-options load_from=CHECKPOINT
# The paper takes 64 images a step; its optimiser for this stage is not published, AdamW at 1e-4 is our choice.
_base_ = [
    '../_base_/models/glipv2_t_mask.py',
    '../_base_/datasets/coco_lvis_phrasecut.py',
    '../_base_/schedules/adamw_epochs.py',
    '../_base_/runtime.py',
]

model = dict(frozen_parts=('backbone', 'language_model', 'neck', 'fusion', 'bbox_head'))

max_epochs = 8
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[5, 7], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=64, enable=False)
