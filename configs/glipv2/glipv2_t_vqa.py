# GLIPv2-T on VQA v2, the whole network, from a pre-trained checkpoint; then the answers for the server:
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_vqa.py 8 --cfg-options load_from=CHECKPOINT
#   bash tools/dist_test.sh configs/glipv2/glipv2_t_vqa.py CHECKPOINT 8
# The head is the paper's. Rates, epochs and batch are published nowhere, so chosen here: AdamW at 1e-5, the new head at
# five times that, 12 epochs, 16 images with all their questions (some 85) a step.
_base_ = ['../_base_/models/glipv2_t.py', '../_base_/vqa_recipe.py']

model = dict(
    backbone=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
    vqa_head=dict(type='VQAHead', text_channels=768, num_answers=3129, answers=_base_.answers),
    frozen_parts=('bbox_head',),
)
