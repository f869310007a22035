# PhraseCut: a referring phrase is the whole prompt, and all objects it means are its boxes. No flipping: phrases say
# "left" and "right". Layout: data/phrasecut/{refer_*.json,image_data_split.json} and images/<id>.jpg.
data_root = 'data/phrasecut/'

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
    dict(type='CleanBoxes'),
    dict(type='BuildPrompt'),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'prompt')),
]
test_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='FixScaleResize', scale=(800, 1333), keep_ratio=True, backend='pillow'),
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
            'task_id',
            'instances',
        ),
    ),
]

phrasecut = dict(
    type='PhraseCutDataset',
    data_root=data_root,
    image_info_file='image_data_split.json',
    data_prefix=dict(img='images/'),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(ann_file='refer_train.json', pipeline=train_pipeline, **phrasecut),
)
# the paper's validation set is two files
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(ann_file=name, test_mode=True, pipeline=test_pipeline, **phrasecut)
            for name in ('refer_val.json', 'refer_miniv.json')
        ],
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='refer_test.json', test_mode=True, pipeline=test_pipeline, **phrasecut),
)

val_evaluator = dict(type='PhraseCutMetric', score_thr=0.3)
test_evaluator = val_evaluator
