# Pre-trains a nano GLIPv2 with all losses on a mix of shapes: detection and grounding records, and pairs labelled by
# tools/pseudo_label.py (docs/data.md makes them, in data/shapes/pseudo):
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_mixed.py 2
_base_ = './ablation/all.py'

train_pipeline = [dict(type='LoadStreamedImage'), *_base_.train_pipeline[1:]]
shapes = dict(
    type='GroundedODVGDataset',
    data_root=_base_.data_root,
    ann_file='annotations/train_odvg.jsonl',
    label_map_file='annotations/label_map.json',
    data_prefix=dict(img='images/train/'),
    pipeline=train_pipeline,
)
pseudo_pairs = dict(
    type='IndexedODVGDataset',
    data_root=_base_.data_root,
    ann_file='pseudo/captions-00000.jsonl',
    image_folder='images/train',
    pipeline=train_pipeline,
)

train_dataloader = dict(
    sampler=dict(_delete_=True, type='MixedSampler', ratios=[4, 1]),
    dataset=dict(
        _delete_=True,
        type='ReplaceFailedSamples',
        max_failed_share=0.01,
        dataset=dict(type='ConcatDataset', datasets=[shapes, pseudo_pairs]),
    ),
)
train_cfg = dict(type='ResumableTrainLoop')
