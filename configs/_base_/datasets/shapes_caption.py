# Captions of "shapes", five per scene: a training sample per caption, an evaluation sample per scene.
# Rendered by: python tools/make_shapes.py --out data/shapes
_base_ = './shapes_pretrain.py'

# flipping stays: captions never say left or right
train_pipeline = [
    dict(type='CaptionPrompt') if step['type'] == 'BuildPrompt' else step for step in _base_.train_pipeline
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=_base_.img_scale, keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        _delete_=True,
        type='CocoCaption',
        data_root=_base_.data_root,
        ann_file='annotations/captions_train.json',
        data_prefix=dict(img='images/train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    dataset=dict(
        _delete_=True,
        type='CocoCaption',
        data_root=_base_.data_root,
        ann_file='annotations/captions_val.json',
        data_prefix=dict(img='images/val/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
# SPICE needs models that are not part of its package
val_evaluator = [
    dict(
        type='CaptionMetric',
        ann_file=_base_.data_root + 'annotations/captions_val.json',
        metrics=('BLEU', 'METEOR', 'ROUGE_L', 'CIDEr'),
    ),
    dict(type='ShapesCaptionTruth', ann_file=_base_.data_root + 'annotations/val.json'),
]
test_evaluator = val_evaluator
