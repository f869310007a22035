# Every pre-training source, and the loader that mixes those which a recipe names; COCO val2017 for validation.
# Files with "_odvg" in their names are made by tools/dataset_converters, those of the image-text pairs by
# tools/pseudo_label.py; the others are read as they are downloaded.
# GLIP's boxes end on their last pixel, hence the two transforms with its name.
_base_ = './coco_zero_shot.py'

train_pipeline = [
    dict(type='LoadStreamedImage', imdecode_backend='pillow'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='GTBoxSubOne_GLIP'),
    dict(
        type='RandomChoiceResize',
        scales=[(480, 1333), (560, 1333), (640, 1333), (720, 1333), (800, 1333)],
        resize_type='FixScaleResize',
        keep_ratio=True,
        backend='pillow',
    ),
    dict(type='RandomFlip_GLIP', prob=0.5),
    dict(type='CleanBoxes'),
    dict(type='BuildPrompt', vocab='bert-base-uncased', max_tokens=256),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction', 'prompt'),
    ),
]

sources = dict(
    coco=dict(
        type='DetectionAsGrounding',
        pipeline=train_pipeline,
        dataset=dict(
            type='GroundedCocoDataset',
            data_root='data/coco/',
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'),
            filter_cfg=dict(filter_empty_gt=True),
        ),
    ),
    objects365_v1=dict(
        type='DetectionAsGrounding',
        pipeline=train_pipeline,
        dataset=dict(
            type='Objects365V1Dataset',
            data_root='data/objects365v1/',
            ann_file='objects365_train.json',
            data_prefix=dict(img='train/'),
            filter_cfg=dict(filter_empty_gt=True),
        ),
    ),
    objects365_v2=dict(
        type='DetectionAsGrounding',
        pipeline=train_pipeline,
        renames='objects365_v2',
        dataset=dict(
            type='Objects365V2Dataset',
            data_root='data/objects365v2/',
            ann_file='annotations/zhiyuan_objv2_train.json',
            data_prefix=dict(img='train/'),
            filter_cfg=dict(filter_empty_gt=True),
        ),
    ),
    lvis=dict(
        type='DetectionAsGrounding',
        pipeline=train_pipeline,
        dataset=dict(
            type='GroundedLVISDataset',
            data_root='data/coco/',
            ann_file='annotations/lvis_v1_train.json',
            data_prefix=dict(img=''),
            filter_cfg=dict(filter_empty_gt=True),
        ),
    ),
    open_images=dict(
        type='GroundedODVGDataset',
        pipeline=train_pipeline,
        data_root='data/open_images/',
        ann_file='oi_v6_train_odvg.jsonl',
        label_map_file='oi_v6_train_odvg_label_map.json',
        data_prefix=dict(img='train/'),
    ),
    visual_genome=dict(
        type='GroundedODVGDataset',
        pipeline=train_pipeline,
        data_root='data/visual_genome/',
        ann_file='vg_train_odvg.jsonl',
        label_map_file='vg_train_odvg_label_map.json',
        data_prefix=dict(img=''),
    ),
    imagenet_boxes=dict(
        type='GroundedODVGDataset',
        pipeline=train_pipeline,
        data_root='data/imagenet_boxes/',
        ann_file='train_odvg.jsonl',
        label_map_file='train_odvg_label_map.json',
        data_prefix=dict(img='train/'),
    ),
    mixed=dict(
        type='MDETRGroundingDataset',
        pipeline=train_pipeline,
        data_root='data/',
        ann_file='mdetr_annotations/final_mixed_train.json',
        data_prefix=dict(img=''),
        image_folders=dict(coco='coco/train2014', vg='gqa/images'),
    ),
    # T leaves out the images of COCO, which it is evaluated on without having seen them
    mixed_no_coco=dict(
        type='MDETRGroundingDataset',
        pipeline=train_pipeline,
        data_root='data/',
        ann_file='mdetr_annotations/final_mixed_train_no_coco.json',
        data_prefix=dict(img=''),
        image_folders=dict(vg='gqa/images'),
    ),
    flickr30k=dict(
        type='MDETRGroundingDataset',
        pipeline=train_pipeline,
        data_root='data/',
        ann_file='mdetr_annotations/final_flickr_separateGT_train.json',
        data_prefix=dict(img='flickr30k/flickr30k_images/'),
    ),
    # in the paper the boxes of Cap4M are by GLIP-T (C), those of the others by GLIP-L
    cap4m=dict(
        type='IndexedODVGDataset',
        pipeline=train_pipeline,
        data_root='data/cap4m/',
        ann_file='cap4m_odvg.jsonl',
        image_folder='images',
    ),
    cap12m=dict(
        type='IndexedODVGDataset',
        pipeline=train_pipeline,
        data_root='data/cap12m/',
        ann_file='cap12m_odvg.jsonl',
        image_folder='images',
    ),
    cc15m_sbu=dict(
        type='IndexedODVGDataset',
        pipeline=train_pipeline,
        data_root='data/cc15m_sbu/',
        ann_file='cc15m_sbu_odvg.jsonl',
        image_folder='images',
    ),
    # as shards; a stream cannot be grouped by aspect, so it also takes batch_sampler=None
    cc3m_shards=dict(
        type='WebDatasetPairs',
        pipeline=train_pipeline,
        shards='data/captions/pseudo/cc3m-{00000..00331}.tar',
        num_samples=2900000,
    ),
)

# A recipe adds the list of its data sets. They are drawn by size, as from their concatenation; GLIP-L's factors would
# be repeats=[...] of the sampler (docs/data.md).
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='MixedSampler'),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(type='ReplaceFailedSamples', max_failed_share=0.01, dataset=dict(type='ConcatDataset')),
)
