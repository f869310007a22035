# RefCOCO in MDETR's json (its downloads have files for RefCOCO+ and RefCOCOg with the same layout): evaluation only.
data_root = 'data/coco/'
ann_file = 'mdetr_annotations/finetune_refcoco_val.json'

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
        ),
    ),
]

val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='MDETRStyleRefCocoDataset',
        data_root=data_root,
        ann_file=ann_file,
        data_prefix=dict(img='train2014/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='GroundedRefExpMetric', ann_file=data_root + ann_file)
test_evaluator = val_evaluator
