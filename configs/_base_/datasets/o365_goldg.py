# Objects365 v1 and GoldG without COCO, both as ODVG jsonl (mmdet's tools/dataset_converters make them), COCO val2017
# for validation. GLIP's boxes end on their last pixel, hence the two transforms with its name.
_base_ = './coco_zero_shot.py'

train_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='GTBoxSubOne_GLIP'),
    dict(
        type='RandomChoiceResize',
        scales=[(480, 1333), (560, 1333), (640, 1333), (720, 1333), (800, 1333)],
        resize_type='FixScaleResize',
        keep_ratio=True,
        backend='pillow'),
    dict(type='RandomFlip_GLIP', prob=0.5),
    dict(type='CleanBoxes'),
    dict(type='BuildPrompt', vocab='bert-base-uncased', max_tokens=256),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction',
                   'prompt')),
]

objects365 = dict(
    type='GroundedODVGDataset',
    data_root='data/objects365v1/',
    ann_file='o365v1_train_odvg.json',
    label_map_file='o365v1_label_map.json',
    data_prefix=dict(img='train/'),
    pipeline=train_pipeline)
goldg_mixed = dict(
    type='GroundedODVGDataset',
    data_root='data/gqa/',
    ann_file='final_mixed_train_no_coco_vg.json',
    data_prefix=dict(img='images/'),
    pipeline=train_pipeline)
goldg_flickr = dict(
    type='GroundedODVGDataset',
    data_root='data/flickr30k/',
    ann_file='final_flickr_separateGT_train_vg.json',
    data_prefix=dict(img='flickr30k_images/'),
    pipeline=train_pipeline)

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(type='ConcatDataset', datasets=[objects365, goldg_mixed, goldg_flickr]))
