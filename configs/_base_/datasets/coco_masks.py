# COCO 2017 instance segmentation with all 80 names in fixed order as the prompt; box and mask AP on val2017.
_base_ = './coco_zero_shot.py'

train_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='LoadMasks'),
    dict(type='GTBoxSubOne_GLIP'),
    dict(
        type='RandomChoiceResize',
        scales=[(480, 1333), (560, 1333), (640, 1333), (720, 1333), (800, 1333)],
        resize_type='FixScaleResize',
        keep_ratio=True,
        backend='pillow',
    ),
    dict(type='RandomFlip_GLIP', prob=0.5),
    dict(type='CleanBoxes'),
    dict(type='BuildPrompt', sample=False),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction', 'prompt'),
    ),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='GroundedCocoDataset',
        data_root=_base_.data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        return_classes=True,
        pipeline=train_pipeline,
    ),
)

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
