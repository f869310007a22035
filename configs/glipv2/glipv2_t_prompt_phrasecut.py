# Tunes a residual per token position for PhraseCut's phrases, which differ from image to image:
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_prompt_phrasecut.py 8 \
#       --cfg-options model.init_cfg.checkpoint=CHECKPOINT
_base_ = [
    '../_base_/models/glipv2_t_mask.py',
    '../_base_/datasets/phrasecut.py',
    '../_base_/schedules/prompt_tuning.py',
    '../_base_/runtime.py',
]

model = dict(
    prompt_tuning=dict(type='PromptTuning'),
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/glipv2_t_mask.pth'),
    fusion=dict(grad_checkpointing=True),
)

max_epochs = 12
monitor = 'phrasecut/mIoU'
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [dict(type='ReduceOnPlateauLR', monitor=monitor, rule='greater', factor=0.1, patience=2)]
custom_hooks = [
    dict(type='PromptCheckpointHook', monitor=monitor),
    dict(type='EarlyStoppingHook', monitor=monitor, rule='greater', min_delta=0.0005, patience=4),
]
auto_scale_lr = dict(base_batch_size=16, enable=False)
