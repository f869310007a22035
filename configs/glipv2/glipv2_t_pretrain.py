# GLIPv2-T with all losses, from ImageNet Swin-T and BERT weights, which timm and transformers fetch, or from a
# converted GLIP-T checkpoint (set load_from):
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_pretrain.py 8
# The paper trains on 32 GPUs x 2 images for 330,000 steps; with fewer GPUs keep 64 images a step by accumulating.
_base_ = [
    '../_base_/models/glipv2_t.py',
    '../_base_/datasets/pretrain_sources.py',
    '../_base_/schedules/adamw_iters.py',
    '../_base_/runtime.py',
]

model = dict(
    backbone=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
    # every weight is 1 in the paper
    inter_loss=dict(type='InterImageContrast', channels=256, text_channels=768),
    mlm_head=dict(type='MLMHead', text_channels=768),
)

detection = [_base_.sources.objects365_v1]
goldg = [_base_.sources.mixed_no_coco, _base_.sources.flickr30k]
train_dataloader = dict(dataset=dict(dataset=dict(datasets=[*detection, *goldg, _base_.sources.cap4m])))

# EMA 0.999 at the tiny scale, buffers by the same rule, without warm-up as in GLIP
custom_hooks = [
    dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.001, update_buffers=True, priority=49)
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=10000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=64, enable=False)
