# Every pre-training source as a data set to mix (settings only; glipv2_nano_shapes_mixed.py shows how to mix).
# Files with "_odvg" in their names are made by tools/dataset_converters, the others are read as they are downloaded.
_base_ = './o365_goldg.py'

train_pipeline = [dict(type='LoadStreamedImage', imdecode_backend='pillow'), *_base_.train_pipeline[1:]]

coco = dict(
    type='DetectionAsGrounding',
    pipeline=train_pipeline,
    dataset=dict(
        type='CocoDataset',
        data_root='data/coco/',
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True)))
objects365_v1 = dict(
    type='DetectionAsGrounding',
    pipeline=train_pipeline,
    dataset=dict(
        type='Objects365V1Dataset',
        data_root='data/objects365v1/',
        ann_file='objects365_train.json',
        data_prefix=dict(img='train/'),
        filter_cfg=dict(filter_empty_gt=True)))
objects365_v2 = dict(
    type='DetectionAsGrounding',
    pipeline=train_pipeline,
    renames='objects365_v2',
    dataset=dict(
        type='Objects365V2Dataset',
        data_root='data/objects365v2/',
        ann_file='annotations/zhiyuan_objv2_train.json',
        data_prefix=dict(img='train/'),
        filter_cfg=dict(filter_empty_gt=True)))
lvis = dict(
    type='DetectionAsGrounding',
    pipeline=train_pipeline,
    dataset=dict(
        type='LVISV1Dataset',
        data_root='data/coco/',
        ann_file='annotations/lvis_v1_train.json',
        data_prefix=dict(img=''),
        filter_cfg=dict(filter_empty_gt=True)))
open_images = dict(
    type='GroundedODVGDataset',
    pipeline=train_pipeline,
    data_root='data/open_images/',
    ann_file='oi_v6_train_odvg.jsonl',
    label_map_file='oi_v6_train_odvg_label_map.json',
    data_prefix=dict(img='train/'))
visual_genome = dict(
    type='GroundedODVGDataset',
    pipeline=train_pipeline,
    data_root='data/visual_genome/',
    ann_file='vg_train_odvg.jsonl',
    label_map_file='vg_train_odvg_label_map.json',
    data_prefix=dict(img=''))
imagenet_boxes = dict(
    type='GroundedODVGDataset',
    pipeline=train_pipeline,
    data_root='data/imagenet_boxes/',
    ann_file='train_odvg.jsonl',
    label_map_file='train_odvg_label_map.json',
    data_prefix=dict(img='train/'))
mixed = dict(
    type='MDETRGroundingDataset',
    pipeline=train_pipeline,
    data_root='data/',
    ann_file='mdetr_annotations/final_mixed_train.json',
    data_prefix=dict(img=''),
    image_folders=dict(coco='coco/train2014', vg='gqa/images'))
flickr30k = dict(
    type='MDETRGroundingDataset',
    pipeline=train_pipeline,
    data_root='data/',
    ann_file='mdetr_annotations/final_flickr_separateGT_train.json',
    data_prefix=dict(img='flickr30k/flickr30k_images/'))
captions = dict(
    type='WebDatasetPairs',
    pipeline=train_pipeline,
    shards='data/captions/pseudo/cc3m-{00000..00331}.tar',
    num_samples=2900000)
