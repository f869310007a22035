# Tunes the prompt of COCO's 80 classes for detection and nothing else, on any GLIPv2-T checkpoint:
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_prompt_coco.py 8 --cfg-options model.init_cfg.checkpoint=CHECKPOINT
# Settings for COCO are not published; these are GLIP's for ODinW with a shorter run.
_base_ = [
    '../_base_/models/glipv2_t.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/prompt_tuning.py',
    '../_base_/runtime.py',
]

model = dict(
    prompt_tuning=dict(type='PromptTuning', classes='CocoDataset'),
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/glipv2_t.pth'),
    fusion=dict(grad_checkpointing=True),
)

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
auto_scale_lr = dict(base_batch_size=16, enable=False)
