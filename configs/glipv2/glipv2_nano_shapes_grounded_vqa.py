# Grounded questions at laptop scale: an answer, boxes for the question's phrases, boxes for what the answer is about.
# From the model that answers without boxes:
#   python tools/dataset_converters/ground_shapes_questions.py data/shapes
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_grounded_vqa.py 2
_base_ = './glipv2_nano_shapes_vqa.py'

load_from = f'work_dirs/glipv2_nano_shapes_vqa/iter_{_base_.max_iters}.pth'
model = dict(vqa_head=dict(grounded=True), frozen_parts=('backbone', 'neck'))

max_iters = 2000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=max_iters, T_max=max_iters - 50, eta_min_ratio=0.02),
]
default_hooks = dict(checkpoint=dict(interval=max_iters))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='GTBoxSubOne_GLIP'),  # the head's boxes end on their last pixel
    dict(type='Resize', scale=_base_.img_scale, keep_ratio=True),
    dict(type='CleanBoxes'),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'text',
            'tokens_positive',
            'question_id',
            'answer_scores',
        ),
    ),
]
train_dataloader = dict(
    batch_size=8,  # every question has its image and its boxes
    dataset=dict(
        ann_file='annotations/answers_train.json',
        question_file='annotations/questions_train.json',
        group_by_image=False,
        grounding_file='annotations/vqa_grounding_train.jsonl',
        pipeline=train_pipeline,
    ),
)
