# GLIPv2-mini with all losses: boxes of real photos, and captions whose boxes the first stage's model has found. After
# glipv2_mini_teacher.py and the labelling (docs/mini.md has its commands):
#   bash tools/dist_train.sh configs/glipv2/glipv2_mini_pretrain.py 2
# Unlike the paper's student, this one goes on from its teacher, for want of time. Weights of the added losses are below
# the paper's 1: a short run has none for what a trunk learns from them late.
_base_ = './glipv2_mini_teacher.py'

load_from = 'work_dirs/glipv2_mini_teacher/iter_2000.pth'

model = dict(
    inter_loss=dict(type='InterImageContrast', channels=128, text_channels=384, init_log_scale=-2.3, loss_weight=0.25),
    mlm_head=dict(type='MLMHead', text_channels=384, loss_weight=0.1),
)

# captions of 400 photos: two of the four shards, to save time
pairs = [
    dict(
        type='IndexedODVGDataset',
        data_root=_base_.data_root,
        ann_file=f'flickr8k_pairs/pseudo/captions-{shard}.jsonl',
        image_folder='flickr8k/images',
        pipeline=_base_.train_pipeline,
    )
    for shard in ('00000', '00001')
]
train_dataloader = dict(
    sampler=dict(ratios=[6, 1, 0.5, 1.25, 1.25]), dataset=dict(dataset=dict(datasets=[*_base_.sources, *pairs]))
)

max_iters = 300
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50, eta_min_ratio=0.1),
]
