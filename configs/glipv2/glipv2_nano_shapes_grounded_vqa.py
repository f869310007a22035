# Grounded questions at laptop scale: an answer, boxes for the question's phrases, boxes for what the answer is about:
#   python tools/dataset_converters/ground_shapes_questions.py data/shapes
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_grounded_vqa.py 2
_base_ = './glipv2_nano_shapes_vqa.py'

model = dict(vqa_head=dict(grounded=True), frozen_parts=())
optim_wrapper = dict(optimizer=dict(lr=_base_.base_lr))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='GTBoxSubOne_GLIP'),  # the head's boxes end on their last pixel
    dict(type='Resize', scale=_base_.img_scale, keep_ratio=True),
    dict(type='CleanBoxes'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'text', 'tokens_positive',
                   'question_id', 'answer_scores')),
]
train_dataloader = dict(
    batch_size=8,  # every question has its image and its boxes
    dataset=dict(
        group_by_image=False, grounding_file='annotations/vqa_grounding_train.jsonl', pipeline=train_pipeline))
