# One of the ODinW sets as downloaded from its archive: data/odinw/Raccoon/Raccoon.v2-raw.coco/{train,valid,test}/.
_base_ = './coco_detection.py'

data_root = 'data/odinw/Raccoon/Raccoon.v2-raw.coco/'
classes = ('raccoon',)
ann_file = 'annotations_without_background.json'

train_dataloader = dict(
    batch_size=4,
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type='FewShotDataset',
        shots=None,
        seed=3,
        dataset=dict(
            type='GroundedCocoDataset',
            data_root=data_root,
            ann_file='train/' + ann_file,
            data_prefix=dict(img='train/'),
            metainfo=dict(classes=classes),
            return_classes=True,
            pipeline=_base_.train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file='valid/' + ann_file,
        data_prefix=dict(img='valid/'),
        metainfo=dict(classes=classes),
    )
)
test_dataloader = dict(
    dataset=dict(
        data_root=data_root, ann_file='test/' + ann_file, data_prefix=dict(img='test/'), metainfo=dict(classes=classes)
    )
)
val_evaluator = dict(ann_file=data_root + 'valid/' + ann_file)
test_evaluator = dict(ann_file=data_root + 'test/' + ann_file)
