# Grounded captioning on "shapes": captions with boxes (an eighth of the scenes) and, half of the draws, all captions
# without. Validation is that of shapes_caption.py.
_base_ = './shapes_caption.py'

grounded = dict(
    type='GroundedODVGDataset',
    data_root=_base_.data_root,
    ann_file='annotations/train_odvg.jsonl',
    label_map_file='annotations/label_map.json',
    data_prefix=dict(img='images/train/'),
    filter_cfg=dict(kind='grounding'),
    pipeline=_base_.train_pipeline,
)

train_dataloader = dict(
    sampler=dict(_delete_=True, type='MixedSampler', ratios=[1, 1]),
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            grounded,
            dict(
                type='CocoCaption',
                data_root=_base_.data_root,
                ann_file='annotations/captions_train.json',
                data_prefix=dict(img='images/train/'),
                pipeline=_base_.train_pipeline,
            ),
        ],
    ),
)
# beside what the captions say, where: R@k of the phrases that references of the scene have, too
val_evaluator = [
    *_base_.val_evaluator,
    dict(type='GeneratedPhraseRecall', ann_file=_base_.data_root + 'annotations/grounding_val.jsonl'),
]
test_evaluator = val_evaluator
