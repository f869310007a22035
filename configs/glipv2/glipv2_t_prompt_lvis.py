# Tunes the prompts of LVIS (1203 classes in 31 prompts, one residual each) for boxes and masks:
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_prompt_lvis.py 8 --cfg-options model.init_cfg.checkpoint=CHECKPOINT
# A step shows each image one of the prompts, half the time one that has a class of the image.
_base_ = [
    '../_base_/models/glipv2_t_mask.py',
    '../_base_/datasets/lvis_masks.py',
    '../_base_/schedules/prompt_tuning.py',
    '../_base_/runtime.py',
]

model = dict(
    prompt_tuning=dict(type='PromptTuning', classes='LVISV1Dataset'),
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/glipv2_t_mask.pth'),
    fusion=dict(grad_checkpointing=True),
    test_cfg=dict(chunked_size=40, max_per_img=300),
)
# a step uses some of the residuals only
find_unused_parameters = True

# the detector makes the prompt: all names do not fit into one
train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'BuildPrompt']
train_pipeline[-1]['meta_keys'] = (*train_pipeline[-1]['meta_keys'][:-1], 'text')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

max_epochs = 12
monitor = 'lvis/segm_AP'
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [dict(type='ReduceOnPlateauLR', monitor=monitor, rule='greater', factor=0.1, patience=2)]
custom_hooks = [
    dict(type='PromptCheckpointHook', monitor=monitor),
    dict(type='EarlyStoppingHook', monitor=monitor, rule='greater', min_delta=0.0005, patience=4),
]
auto_scale_lr = dict(base_batch_size=16, enable=False)
