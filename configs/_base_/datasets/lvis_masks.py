# LVIS v1 instance segmentation: 1203 names, a random choice of them in training, 40 per prompt in evaluation.
# The annotations point into COCO's folders. Evaluation needs the lvis package: standard and fixed AP.
_base_ = './coco_masks.py'

train_pipeline = _base_.train_pipeline
train_pipeline[-2] = dict(type='BuildPrompt', max_negatives=85, full_probability=1.0)

train_dataloader = dict(
    dataset=dict(
        type='GroundedLVISDataset',
        ann_file='annotations/lvis_v1_train.json',
        data_prefix=dict(img=''),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(type='GroundedLVISDataset', ann_file='annotations/lvis_v1_val.json', data_prefix=dict(img=''))
)
test_dataloader = val_dataloader

val_evaluator = dict(
    _delete_=True,
    type='GroundedLVISMetric',
    ann_file=_base_.data_root + 'annotations/lvis_v1_val.json',
    metric=['bbox', 'segm'],
)
test_evaluator = val_evaluator
