# GLIPv2-T captions COCO (Karpathy's split), the whole network but the box head, from a pre-trained checkpoint:
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_caption.py 8 --cfg-options load_from=CHECKPOINT
#   bash tools/dist_test.sh configs/glipv2/glipv2_t_caption.py CHECKPOINT 8
_base_ = [
    '../_base_/models/glipv2_t_caption.py',
    '../_base_/datasets/coco_caption.py',
    '../_base_/schedules/caption_epochs.py',
    '../_base_/runtime.py',
]

model = dict(
    backbone=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
    # kept for grounding given text, not trained
    frozen_parts=('bbox_head',),
)
auto_scale_lr = dict(base_batch_size=64, enable=False)
