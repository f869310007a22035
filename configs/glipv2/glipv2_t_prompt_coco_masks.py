# Tunes the prompt of COCO's 80 classes for boxes and masks, on a checkpoint whose mask head is trained (second stage):
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_prompt_coco_masks.py 8 \
#       --cfg-options model.init_cfg.checkpoint=CHECKPOINT
_base_ = [
    '../_base_/models/glipv2_t_mask.py',
    '../_base_/datasets/coco_masks.py',
    '../_base_/schedules/prompt_tuning.py',
    '../_base_/runtime.py',
]

model = dict(
    prompt_tuning=dict(type='PromptTuning', classes='CocoDataset'),
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/glipv2_t_mask.pth'),
    fusion=dict(grad_checkpointing=True),
)

max_epochs = 12
monitor = 'coco/segm_mAP'
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [dict(type='ReduceOnPlateauLR', monitor=monitor, rule='greater', factor=0.1, patience=2)]
custom_hooks = [
    dict(type='PromptCheckpointHook', monitor=monitor),
    dict(type='EarlyStoppingHook', monitor=monitor, rule='greater', min_delta=0.0005, patience=4),
]
auto_scale_lr = dict(base_batch_size=16, enable=False)
