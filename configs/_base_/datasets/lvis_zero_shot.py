# LVIS v1 minival, the 4,809 pictures of COCO val2017: standard and fixed AP of boxes. Made from lvis_v1_val.json by
#   python tools/dataset_converters/lvis_minival.py data/coco/annotations/lvis_v1_val.json
# Needs the lvis package. All of val: see docs/evaluation.md.
_base_ = './coco_zero_shot.py'

ann_file = 'annotations/lvis_v1_minival.json'

val_dataloader = dict(
    # the annotations name folder and file of each picture
    dataset=dict(type='GroundedLVISDataset', ann_file=ann_file, data_prefix=dict(img=''))
)
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type='GroundedLVISMetric', ann_file=_base_.data_root + ann_file, metric=['bbox'])
test_evaluator = val_evaluator
