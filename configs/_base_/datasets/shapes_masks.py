# The embedded "shapes" data with masks: what the box model was trained on, read with the mask of every box.
_base_ = './shapes_pretrain.py'

train_pipeline = _base_.train_pipeline
train_pipeline.insert(2, dict(type='LoadMasks'))  # right after LoadAnnotations

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
