# Prompt tuning as GLIP does on ODinW: AdamW at 0.05 with decay 0.25; after every pass over the data the validation AP
# decides: without progress for more than 2 evaluations the rate drops, after 4 the run ends (3 and 8 for few shots).
# Small files are kept: the best and the last prompt, and a checkpoint to resume from. The base weights are named by
# model.init_cfg.checkpoint, which a resumed run reads too.
max_epochs = 200
monitor = 'coco/bbox_mAP'

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.05, weight_decay=0.25))
param_scheduler = [dict(type='ReduceOnPlateauLR', monitor=monitor, rule='greater', factor=0.1, patience=2)]
custom_hooks = [
    dict(type='PromptCheckpointHook', monitor=monitor),
    # AP is rounded to a thousandth: less than that is no progress
    dict(type='EarlyStoppingHook', monitor=monitor, rule='greater', min_delta=0.0005, patience=4),
]
