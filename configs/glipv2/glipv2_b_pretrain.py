# GLIPv2-B with all losses, from UniCL's Swin-B and text encoder (docs/encoders.md says how to make the file):
#   bash tools/dist_train.sh configs/glipv2/glipv2_b_pretrain.py 8 --cfg-options load_from=weights/glipv2_b_init.pth
# The paper trains on 64 GPUs x 1 image for a million steps; with fewer GPUs keep 64 images a step by accumulating.
# Not published, so assumed: number of fusion blocks, weight decay, warm-up. No EMA at this scale (GLIP-L has none).
# Validation on COCO is not zero-shot: its training set is in the mix.
_base_ = [
    '../_base_/models/glipv2_b.py', '../_base_/datasets/pretrain_sources_clip.py',
    '../_base_/schedules/adamw_iters_large.py', '../_base_/runtime.py'
]

model = dict(
    backbone=dict(grad_checkpointing=True),
    language_model=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
    # every weight is 1 in the paper
    inter_loss=dict(type='InterImageContrast', channels=256, text_channels=512),
    mlm_head=dict(type='MLMHead', text_channels=512, vocab_size=49408))

detection = [
    _base_.sources.objects365_v1, _base_.sources.coco, _base_.sources.open_images, _base_.sources.visual_genome,
    _base_.sources.imagenet_boxes
]
goldg = [_base_.sources.mixed, _base_.sources.flickr30k]
train_dataloader = dict(
    batch_size=1,
    dataset=dict(dataset=dict(datasets=[*detection, *goldg, _base_.sources.cc15m_sbu])))

default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=10000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=64, enable=False)
