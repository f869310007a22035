# GLIPv2-B with all losses, from UniCL's Swin-B and text encoder: put its file at weights/unicl_swin_base.pth, then
#   bash tools/dist_train.sh configs/glipv2/glipv2_b_pretrain.py 8
# The paper trains on 64 GPUs x 1 image for a million steps; with fewer GPUs keep 64 images a step by accumulating.
# Not published, so assumed: number of fusion blocks, weight decay, warm-up. No EMA at this scale (GLIP-L has none).
# Validation on COCO is not zero-shot: its training set is in the mix.
_base_ = ['../_base_/models/glipv2_b.py', '../_base_/pretrain_large.py']

model = dict(
    backbone=dict(grad_checkpointing=True),
    language_model=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
    # every weight is 1 in the paper
    inter_loss=dict(type='InterImageContrast', channels=256, text_channels=512),
    mlm_head=dict(type='MLMHead', text_channels=512, vocab_size=49408),
)
