# Questions about shapes at laptop scale, first part: names, numbers, and where one thing is. From the quickstart:
#   python tools/dataset_converters/more_shapes_questions.py data/shapes
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_vqa_looks.py 2
# The second part, glipv2_nano_shapes_vqa.py, compares two things, which is hardly learnt if asked from the start.
_base_ = [
    '../_base_/models/glipv2_nano.py',
    '../_base_/datasets/shapes_vqa.py',
    '../_base_/schedules/nano.py',
    '../_base_/runtime.py',
]

load_from = f'work_dirs/quickstart/iter_{_base_.max_iters}.pth'
# what the quickstart has learnt to see stays: words that only begin to read it would spoil it at this rate
model = dict(
    fusion=dict(places=True),
    vqa_head=dict(type='VQAHead', text_channels=96, num_answers=len(_base_.answers), answers=_base_.answers),
    frozen_parts=('backbone', 'neck', 'bbox_head'),
)

max_iters = 2000
train_cfg = dict(max_iters=max_iters, val_interval=500)
train_dataloader = dict(
    batch_size=8,  # images, each with all its questions
    dataset=dict(
        ann_file='annotations/more_answers_train.json',
        question_file='annotations/more_questions_train.json',
        only_types=('is there a', 'how many', 'what color is the', 'what shape is the', 'is the (middle)'),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50, eta_min_ratio=0.02),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
