# GLIPv2-T on VQA v2 with boxes for the words of questions and answers (docs/vqa.md says how to make them):
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_grounded_vqa.py 8 --cfg-options load_from=CHECKPOINT
# L_vqa + L_loc + L_intra, as in the paper; add inter_loss as in glipv2_t_pretrain.py for L_inter.
_base_ = './glipv2_t_vqa.py'

model = dict(vqa_head=dict(grounded=True), frozen_parts=())

train_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='GTBoxSubOne_GLIP'),
    _base_.train_pipeline[1],
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
grounded = dict(group_by_image=False, pipeline=train_pipeline)
train_dataloader = dict(
    dataset=dict(
        datasets=[
            {**_base_.train2014, **grounded, 'grounding_file': 'grounding_train2014.jsonl'},
            {**_base_.val2014, **grounded, 'grounding_file': 'grounding_val2014.jsonl'},
        ]
    )
)
