# GLIPv2-H with all losses, in one stage: the recipe of B with CoSwin-H as image encoder:
#   bash tools/dist_train.sh configs/glipv2/glipv2_h_pretrain.py 8
# The paper starts from Florence's weights, which were never published: this recipe stops until it is given
# model.backbone.pretrained=FILE, load_from=FILE or model.backbone.from_scratch=True. Text starts from UniCL's encoder.
_base_ = ['../_base_/models/glipv2_h.py', '../_base_/pretrain_large.py']

model = dict(
    backbone=dict(grad_checkpointing=True),
    language_model=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
    # every weight is 1 in the paper
    inter_loss=dict(type='InterImageContrast', channels=256, text_channels=512),
    mlm_head=dict(type='MLMHead', text_channels=512, vocab_size=49408),
)
