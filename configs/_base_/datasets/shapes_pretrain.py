# The embedded "shapes" data: pre-training on detection and grounding records, validation on 30 seen pairs.
# Rendered by: python tools/make_shapes.py --out data/shapes
data_root = 'data/shapes/'
img_scale = (160, 160)  # longest side the network sees; scenes are 160-256 px
# Order of the categories in annotations/val.json: six colours x six shapes without the six held-out pairs.
classes = (
    'red circle',
    'red square',
    'red triangle',
    'red cross',
    'red diamond',
    'green circle',
    'green square',
    'green star',
    'green cross',
    'green diamond',
    'blue square',
    'blue triangle',
    'blue star',
    'blue cross',
    'blue diamond',
    'yellow circle',
    'yellow triangle',
    'yellow star',
    'yellow cross',
    'yellow diamond',
    'purple circle',
    'purple square',
    'purple triangle',
    'purple star',
    'purple diamond',
    'white circle',
    'white square',
    'white triangle',
    'white star',
    'white cross',
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='GTBoxSubOne_GLIP'),  # the head's boxes end on their last pixel
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='RandomFlip_GLIP', prob=0.5),  # captions never say left or right
    dict(type='CleanBoxes'),
    dict(type='BuildPrompt', max_negatives=30, full_probability=0.8),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction', 'prompt'),
    ),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'text',
            'custom_entities',
            'tokens_positive',
            'caption_prompt',
        ),
    ),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='GroundedODVGDataset',
        data_root=data_root,
        ann_file='annotations/train_odvg.jsonl',
        label_map_file='annotations/label_map.json',
        data_prefix=dict(img='images/train/'),
        pipeline=train_pipeline,
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
        data_root=data_root,
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/val/'),
        metainfo=dict(classes=classes),
        test_mode=True,
        return_classes=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file=data_root + 'annotations/val.json', metric='bbox')
test_evaluator = val_evaluator
