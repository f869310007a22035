# Real photos with masks in COCO layout: dates, figs and hazelnuts on a table. Layout: data/fruits_nuts/images/ and
# data/fruits_nuts/annotations/{train,val}.json. Link your folder there: ln -s /path/to/fruits_nuts data/fruits_nuts
_base_ = './raccoon.py'

data_root = 'data/fruits_nuts/'
metainfo = dict(classes=('date', 'fig', 'hazelnut'))
train_pipeline = _base_.train_pipeline
train_pipeline.insert(2, dict(type='LoadMasks'))

train_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json', metric=['bbox', 'segm'])
test_evaluator = val_evaluator
