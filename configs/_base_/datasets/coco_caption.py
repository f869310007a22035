# COCO captions in Karpathy's split: 113,287 images to train on (train and restval), 5,000 each for val and test.
# Layout: data/coco/annotations/dataset_coco.json, images in data/coco/train2014 and data/coco/val2014.
data_root = 'data/coco/'
ann_file = 'annotations/dataset_coco.json'

# no flipping: people say "left" and "right"
train_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomChoiceResize',
        scales=[(480, 1333), (560, 1333), (640, 1333), (720, 1333), (800, 1333)],
        resize_type='FixScaleResize',
        keep_ratio=True,
        backend='pillow',
    ),
    dict(type='CaptionPrompt'),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'prompt')),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='FixScaleResize', scale=(800, 1333), keep_ratio=True, backend='pillow'),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

captions = dict(type='CocoCaption', data_root=data_root, ann_file=ann_file, data_prefix=dict(img=''))
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(splits=('train', 'restval'), pipeline=train_pipeline, **captions),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(splits=('val',), test_mode=True, pipeline=test_pipeline, **captions),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(splits=('test',), test_mode=True, pipeline=test_pipeline, **captions),
)
val_evaluator = dict(type='CaptionMetric', ann_file=data_root + ann_file, splits=('val',))
test_evaluator = dict(type='CaptionMetric', ann_file=data_root + ann_file, splits=('test',))
