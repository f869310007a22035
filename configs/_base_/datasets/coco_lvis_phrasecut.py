# What the mask head is trained on in the second stage: COCO and LVIS three times for every pass over PhraseCut, so
# that 8 epochs are the paper's 24, 24 and 8. Whether the paper mixes the sets or takes them in turn is not published.
_base_ = './coco_masks.py'

data_root = 'data/'
coco_pipeline = _base_.train_pipeline
lvis_pipeline = [
    *coco_pipeline[:-2],
    dict(type='BuildPrompt', max_negatives=85, full_probability=1.0),
    coco_pipeline[-1],
]
phrasecut_pipeline = [step for step in coco_pipeline if step['type'] != 'RandomFlip_GLIP']
phrasecut_pipeline[-2] = dict(type='BuildPrompt')

coco = dict(
    type='GroundedCocoDataset',
    data_root=data_root + 'coco/',
    ann_file='annotations/instances_train2017.json',
    data_prefix=dict(img='train2017/'),
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    return_classes=True,
    pipeline=coco_pipeline,
)
lvis = dict(
    type='GroundedLVISDataset',
    data_root=data_root + 'coco/',
    ann_file='annotations/lvis_v1_train.json',
    data_prefix=dict(img=''),
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    return_classes=True,
    pipeline=lvis_pipeline,
)
phrasecut = dict(
    type='PhraseCutDataset',
    data_root=data_root + 'phrasecut/',
    ann_file='refer_train.json',
    image_info_file='image_data_split.json',
    data_prefix=dict(img='images/'),
    pipeline=phrasecut_pipeline,
)

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        ignore_keys=['classes', 'palette'],
        datasets=[
            dict(type='RepeatDataset', times=3, dataset=coco),
            dict(type='RepeatDataset', times=3, dataset=lvis),
            phrasecut,
        ],
    )
)
