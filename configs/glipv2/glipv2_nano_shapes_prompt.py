# Tunes the prompt of the held-out pairs on scenes that have them, and evaluates on the scenes of the zero-shot figure:
#   python tools/make_shapes.py --out data/shapes_held_out --train 1 --val 1 --zero-shot 100 --seed 1
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_prompt.py 2
_base_ = [
    '../_base_/models/glipv2_nano.py',
    '../_base_/datasets/shapes_zero_shot.py',
    '../_base_/schedules/prompt_tuning.py',
    '../_base_/runtime.py',
]

model = dict(
    prompt_tuning=dict(type='PromptTuning', classes=_base_.zero_shot_classes),
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/quickstart/iter_2600.pth'),
)

train_pipeline = _base_.train_pipeline
train_pipeline[-2] = dict(type='BuildPrompt', sample=False)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='CocoDataset',
        data_root='data/shapes_held_out/',
        ann_file='annotations/zero_shot.json',
        data_prefix=dict(img='images/zero_shot/'),
        metainfo=dict(classes=_base_.zero_shot_classes),
        return_classes=True,
        pipeline=train_pipeline,
    )
)

max_epochs = 8
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(logger=dict(interval=10))
