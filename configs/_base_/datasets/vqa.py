# VQA v2: train2014 + val2014 without 2,000 images of val2014, which are for validation; test answers go to the server.
# Layout: data/vqav2/{v2_OpenEnded_mscoco_*_questions.json,v2_mscoco_*_annotations.json}, images in data/coco/.
# Made first:
#   python tools/dataset_converters/vqa_vocabulary.py data/vqav2/v2_mscoco_train2014_annotations.json \
#       data/vqav2/v2_mscoco_val2014_annotations.json --expect 3129 --out data/vqav2/answers_3129.json
#   python tools/dataset_converters/vqa_dev_split.py data/vqav2/v2_OpenEnded_mscoco_val2014_questions.json \
#       --out data/vqav2/dev_images.json
data_root = 'data/vqav2/'
answers = data_root + 'answers_3129.json'
dev_images = 'dev_images.json'

# no flipping: questions say "left" and "right"
train_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='RandomChoiceResize',
        scales=[(480, 1333), (560, 1333), (640, 1333), (720, 1333), (800, 1333)],
        resize_type='FixScaleResize',
        keep_ratio=True,
        backend='pillow',
    ),
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
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='FixScaleResize', scale=(800, 1333), keep_ratio=True, backend='pillow'),
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

train2014 = dict(
    type='VQADataset',
    data_root=data_root,
    ann_file='v2_mscoco_train2014_annotations.json',
    question_file='v2_OpenEnded_mscoco_train2014_questions.json',
    answers=answers,
    group_by_image=True,
    image_template='COCO_train2014_{image_id:012d}.jpg',
    data_prefix=dict(img='../coco/train2014/'),
    pipeline=train_pipeline,
)
val2014 = dict(
    type='VQADataset',
    data_root=data_root,
    ann_file='v2_mscoco_val2014_annotations.json',
    question_file='v2_OpenEnded_mscoco_val2014_questions.json',
    answers=answers,
    group_by_image=True,
    image_template='COCO_val2014_{image_id:012d}.jpg',
    data_prefix=dict(img='../coco/val2014/'),
    without_images=dev_images,
    pipeline=train_pipeline,
)

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ConcatDataset', datasets=[train2014, val2014]),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='VQADataset',
        data_root=data_root,
        ann_file=val2014['ann_file'],
        question_file=val2014['question_file'],
        image_template=val2014['image_template'],
        data_prefix=val2014['data_prefix'],
        only_images=dev_images,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='VQADataset',
        data_root=data_root,
        question_file='v2_OpenEnded_mscoco_test2015_questions.json',
        image_template='COCO_test2015_{image_id:012d}.jpg',
        data_prefix=dict(img='../coco/test2015/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(type='VQAMetric', baseline_ann_file=data_root + train2014['ann_file'])
test_evaluator = dict(
    type='VQAMetric', format_only=True, outfile_prefix='work_dirs/vqa_OpenEnded_mscoco_test2015_glipv2'
)
