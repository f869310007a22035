# Data of the B and H scales, everything as ODVG jsonl: five detection sets, GoldG, image-text pairs with pseudo boxes.
# Prompts are counted with CLIP's vocabulary. Validation on COCO is not zero-shot: its training set is in the mix.
_base_ = './o365_goldg.py'

prompt_vocab = 'data/clip_vocab'  # that of the text encoder
train_pipeline = [
    dict(step, vocab=prompt_vocab) if step['type'] == 'BuildPrompt' else step for step in _base_.train_pipeline
]
odvg = dict(type='GroundedODVGDataset', pipeline=train_pipeline)

objects365 = dict(_base_.objects365, pipeline=train_pipeline)
more_detection = [
    dict(
        odvg,
        data_root='data/coco/',
        ann_file='instances_train2017_odvg.jsonl',
        label_map_file='coco_label_map.json',
        data_prefix=dict(img='train2017/')),
    dict(
        odvg,
        data_root='data/openimages/',
        ann_file='openimages_train_odvg.jsonl',
        label_map_file='openimages_label_map.json',
        data_prefix=dict(img='train/')),
    dict(
        odvg,
        data_root='data/visual_genome/',
        ann_file='vg_train_odvg.jsonl',
        label_map_file='vg_label_map.json',
        data_prefix=dict(img='VG_100K/')),
    dict(
        odvg,
        data_root='data/imagenet_boxes/',
        ann_file='imagenet_boxes_odvg.jsonl',
        label_map_file='imagenet_label_map.json',
        data_prefix=dict(img='train/')),
]
goldg = [
    # with COCO images, which T leaves out
    dict(_base_.goldg_mixed, ann_file='final_mixed_train_vg.json', pipeline=train_pipeline),
    dict(_base_.goldg_flickr, pipeline=train_pipeline),
]
# boxes of Cap4M by GLIP-T (C), of the others by GLIP-L in the paper; tools that make them are part of this repository
cap4m = [
    dict(odvg, data_root='data/cap4m/', ann_file='cap4m_odvg.jsonl', data_prefix=dict(img='images/')),
]
cap12m = [
    dict(odvg, data_root='data/cap12m/', ann_file='cap12m_odvg.jsonl', data_prefix=dict(img='images/')),
]
cc15m_sbu = [
    dict(odvg, data_root='data/cc15m_sbu/', ann_file='cc15m_sbu_odvg.jsonl', data_prefix=dict(img='images/')),
]

# 64 GPUs x 1 image in the paper
train_dataloader = dict(
    batch_size=1, dataset=dict(datasets=[objects365, *more_detection, *goldg, *cc15m_sbu]))
