# GLIPv2-mini, first stage: boxes and words of real photos, from ImageNet and MiniLM weights. Its model labels the
# captions of the next stage, as GLIP-T (C) labels Cap4M in the paper:
#   bash tools/dist_train.sh configs/glipv2/glipv2_mini_teacher.py 2
# Photos are 224 px here: a step costs half of one at 320 px, and crops show objects as large as 320 px do later.
_base_ = [
    '../_base_/models/glipv2_mini.py',
    '../_base_/datasets/photos.py',
    '../_base_/schedules/mini.py',
]

train_pipeline = [
    *_base_.train_pipeline[:5],
    dict(type='Resize', scale=(224, 224), keep_ratio=True),
    *_base_.train_pipeline[6:],
]
sources = [dict(source, pipeline=train_pipeline) for source in (_base_.voc, _base_.coco, _base_.coco_mini)]
train_dataloader = dict(dataset=dict(dataset=dict(datasets=sources)))
