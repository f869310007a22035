"""What every run shares: plugin import, hooks, logging, environment."""

default_scope = 'mmdet'
custom_imports = dict(imports=['glipv2_mmdet'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='MetricsLoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='DurableCheckpointHook', interval=1, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    loader_timeout=dict(type='LoaderTimeoutHook', seconds=600),
    non_finite=dict(type='StopOnNonFiniteHook'),
    visualization=dict(type='PictureHook'),
)

# tools/train.py and tools/test.py replace nccl by gloo where no GPU is visible
env_cfg = dict(
    cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl')
)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='GLIPv2Visualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)

log_level = 'INFO'
load_from = None
resume = False
