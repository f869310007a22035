# Real photos for GLIPv2-mini: VOC- and COCO-labelled boxes, mixed; validation on the VOC-labelled photos.
# COCO json files and images/ in each folder below data/photos; docs/mini.md says which photos, and where they are from.
data_root = 'data/photos/'
voc_classes = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'dining table', 'dog',
    'horse', 'motorbike', 'person', 'potted plant', 'sheep', 'sofa', 'train', 'tv monitor',
)  # fmt: skip
img_scale = (320, 320)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PhotoMetricDistortion'),
    # small objects are also seen large; both sides lose alike, so that a batch of equal aspect stays one
    dict(type='RandomCrop', crop_type='relative_range', crop_size=(0.6, 0.6)),
    dict(type='GTBoxSubOne_GLIP'),  # the head's boxes end on their last pixel
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='RandomFlip_GLIP', prob=0.5),
    dict(type='CleanBoxes'),
    dict(type='BuildPrompt', max_negatives=20),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction', 'prompt',
        ),
    ),
]  # fmt: skip
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'text', 'custom_entities',
            'tokens_positive', 'caption_prompt',
        ),
    ),
]  # fmt: skip

voc = dict(
    type='DetectionAsGrounding',
    pipeline=train_pipeline,
    dataset=dict(
        type='GroundedCocoDataset',
        data_root=data_root + 'voc2012_animals/',
        ann_file='train.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=voc_classes),
        filter_cfg=dict(filter_empty_gt=True),
    ),
)
coco = dict(
    type='DetectionAsGrounding',
    pipeline=train_pipeline,
    dataset=dict(
        type='GroundedCocoDataset',
        data_root=data_root + 'coco_boxes/',
        ann_file='train.json',
        data_prefix=dict(img='images/'),
        filter_cfg=dict(filter_empty_gt=True),
    ),
)
coco_mini = dict(
    type='DetectionAsGrounding',
    pipeline=train_pipeline,
    dataset=dict(
        type='GroundedCocoDataset',
        data_root=data_root + 'coco_mini/',
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='images/train/'),
        filter_cfg=dict(filter_empty_gt=True),
    ),
)

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='MixedSampler'),
    # a batch of equal aspect has little padding, a quarter less than a mixed one
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='ReplaceFailedSamples',
        max_failed_share=0.01,
        dataset=dict(type='ConcatDataset', datasets=[voc, coco, coco_mini]),
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='GroundedCocoDataset',
        data_root=data_root + 'voc2012_animals/',
        ann_file='val.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=voc_classes),
        test_mode=True,
        return_classes=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file=data_root + 'voc2012_animals/val.json', metric='bbox', classwise=True)
test_evaluator = val_evaluator
