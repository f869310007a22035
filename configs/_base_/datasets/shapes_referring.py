# Referring phrases of "shapes", for one object or many: "the large yellow circle", "the two white things".
# Rendered by: python tools/make_shapes.py --out data/shapes
_base_ = './shapes_pretrain.py'

# no flipping: phrases say "left" and "right"
train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'RandomFlip_GLIP']
train_pipeline.insert(2, dict(type='LoadMasks'))
train_pipeline[-1]['meta_keys'] = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'prompt')
test_pipeline = _base_.test_pipeline
test_pipeline[-1]['meta_keys'] = (*test_pipeline[-1]['meta_keys'], 'task_id', 'instances')

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ReferringDataset',
        data_root=_base_.data_root,
        ann_file='annotations/referring_train.jsonl',
        data_prefix=dict(img='images/train/'),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ReferringDataset',
        data_root=_base_.data_root,
        ann_file='annotations/referring_val.jsonl',
        data_prefix=dict(img='images/val/'),
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
# 0.3 is the default; the others show in the same run how much depends on it
val_evaluator = [
    dict(type='PhraseCutMetric', score_thr=threshold, prefix=f'referring_{threshold}')
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7)
]
test_evaluator = val_evaluator
