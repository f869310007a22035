# Flickr30k Entities, phrase grounding on its test sentences: evaluation only (choose models on the file for "val").
# Layout: data/mdetr_annotations/final_flickr_separateGT_test.json and photos in data/flickr30k/flickr30k_images.
data_root = 'data/'

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
            'instances',
            'phrase_types',
        ),
    ),
]

val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='Flickr30kEntities',
        data_root=data_root,
        ann_file='mdetr_annotations/final_flickr_separateGT_test.json',
        data_prefix=dict(img='flickr30k/flickr30k_images/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Flickr30kRecall')
test_evaluator = val_evaluator
