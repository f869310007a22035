# Real photos of one class in COCO layout: <data_root>/images/ and <data_root>/annotations/{train,val}.json.
# Link your folder there, for example: ln -s /path/to/raccoon data/raccoon
data_root = 'data/raccoon/'
img_scale = (320, 320)
classes = ('raccoon',)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='GTBoxSubOne_GLIP'),  # the head's boxes end on their last pixel
    dict(
        type='RandomChoiceResize',
        scales=[(256, 256), (288, 288), (320, 320), (352, 352)],
        resize_type='Resize',
        keep_ratio=True,
    ),
    dict(type='RandomFlip_GLIP', prob=0.5),
    dict(type='CleanBoxes'),
    dict(type='BuildPrompt', sample=False),
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
    # 154 photos are 20 steps of two processes: starting the loader anew after each pass would slow them down
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='GroundedCocoDataset',
        data_root=data_root,
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=classes),
        return_classes=True,
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
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=classes),
        test_mode=True,
        return_classes=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file=data_root + 'annotations/val.json', metric='bbox')
test_evaluator = val_evaluator
