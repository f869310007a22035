# COCO 2017 detection with all 80 names in fixed order as the prompt; box AP on val2017.
_base_ = './coco_masks.py'

train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'LoadMasks']

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
