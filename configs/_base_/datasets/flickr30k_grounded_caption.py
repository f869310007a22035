# Grounded captioning of photos: Flickr30k's training captions with their boxes, mixed with COCO's captions without.
# Validation is that of coco_caption.py; flickr30k.py measures the grounding.
_base_ = './coco_caption.py'

grounded_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='GTBoxSubOne_GLIP'),
    _base_.train_pipeline[2],
    dict(type='CleanBoxes'),
    *_base_.train_pipeline[3:],
]
grounded = dict(
    type='MDETRGroundingDataset',
    data_root='data/',
    ann_file='mdetr_annotations/final_flickr_separateGT_train.json',
    data_prefix=dict(img='flickr30k/flickr30k_images/'),
    pipeline=grounded_pipeline,
)

# one grounded caption for each plain one; the paper does not say whether it mixes them
train_dataloader = dict(
    sampler=dict(_delete_=True, type='MixedSampler', ratios=[1, 1]),
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=[grounded, _base_.train_dataloader.dataset]),
)
