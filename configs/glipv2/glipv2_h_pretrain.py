# GLIPv2-H with all losses, in one stage: the recipe of B with CoSwin-H as image encoder:
#   bash tools/dist_train.sh configs/glipv2/glipv2_h_pretrain.py 8
# The paper starts from Florence's weights, which were never published. Text encoder weights can be UniCL's or CLIP's.
_base_ = [
    '../_base_/models/glipv2_h.py', '../_base_/datasets/od_goldg_captions.py',
    '../_base_/schedules/adamw_iters_large.py', '../_base_/runtime.py'
]

model = dict(
    backbone=dict(grad_checkpointing=True),
    language_model=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
    inter_loss=dict(type='InterImageContrast', channels=256, text_channels=512),
    mlm_head=dict(type='MLMHead', text_channels=512, vocab_size=49408))

default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=10000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=64, enable=False)
