# Questions of "shapes": presence, number, colour, shape and position. Rendered by:
#   python tools/make_shapes.py --out data/shapes
_base_ = './shapes_pretrain.py'

# by frequency in answers_train.json, as tools/dataset_converters/vqa_vocabulary.py orders them; then the two that only
# tools/dataset_converters/more_shapes_questions.py asks for
answers = (
    'no',
    'yes',
    '1',
    'right',
    'left',
    '2',
    '0',
    'circle',
    'white',
    'green',
    'yellow',
    'triangle',
    'diamond',
    'cross',
    'red',
    'square',
    'star',
    'purple',
    'blue',
    '3',
    '4',
    'above',
    'below',
)

# no flipping: questions say "left" and "right"
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=_base_.img_scale, keep_ratio=True),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'questions',
            'question_id',
            'answer_scores',
        ),
    ),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=_base_.img_scale, keep_ratio=True),
    dict(
        type='PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'text',
            'custom_entities',
            'question_id',
            'question_type',
            'answer_type',
            'gt_answers',
        ),
    ),
]

train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        _delete_=True,
        type='VQADataset',
        data_root=_base_.data_root,
        ann_file='annotations/answers_train.json',
        question_file='annotations/questions_train.json',
        image_info_file='annotations/train.json',
        answers=answers,
        group_by_image=True,
        data_prefix=dict(img='images/train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    dataset=dict(
        _delete_=True,
        type='VQADataset',
        data_root=_base_.data_root,
        ann_file='annotations/answers_val.json',
        question_file='annotations/questions_val.json',
        image_info_file='annotations/val.json',
        data_prefix=dict(img='images/val/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True, type='VQAMetric', baseline_ann_file=_base_.data_root + 'annotations/answers_train.json'
)
test_evaluator = val_evaluator
