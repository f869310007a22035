# What the pre-training of B and H shares: data, schedule, runtime.
_base_ = ['./datasets/pretrain_sources_clip.py', './schedules/adamw_iters_large.py', './runtime.py']

detection = [
    _base_.sources.objects365_v1,
    _base_.sources.coco,
    _base_.sources.open_images,
    _base_.sources.visual_genome,
    _base_.sources.imagenet_boxes,
]
goldg = [_base_.sources.mixed, _base_.sources.flickr30k]
train_dataloader = dict(
    batch_size=1, dataset=dict(dataset=dict(datasets=[*detection, *goldg, _base_.sources.cc15m_sbu]))
)

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=10000, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(base_batch_size=64, enable=False)
