# Phrase grounding on "shapes": the captions of unseen scenes are given, the boxes of their phrases are looked for.
# Rendered by: python tools/make_shapes.py --out data/shapes (a folder without grounding_val.jsonl gains it)
_base_ = './shapes_pretrain.py'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=_base_.img_scale, keep_ratio=True),
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
        ),
    ),
]

val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='GroundedODVGDataset',
        data_root=_base_.data_root,
        ann_file='annotations/grounding_val.jsonl',
        data_prefix=dict(img='images/val/'),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='Flickr30kRecall')
test_evaluator = val_evaluator
