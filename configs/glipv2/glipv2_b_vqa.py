# GLIPv2-B on VQA v2; everything that glipv2_t_vqa.py says holds here:
#   bash tools/dist_train.sh configs/glipv2/glipv2_b_vqa.py 8 --cfg-options load_from=CHECKPOINT
_base_ = ['../_base_/models/glipv2_b.py', '../_base_/vqa_recipe.py']

model = dict(
    backbone=dict(grad_checkpointing=True),
    language_model=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
    vqa_head=dict(type='VQAHead', text_channels=512, num_answers=3129, answers=_base_.answers),
    frozen_parts=('bbox_head',),
)
