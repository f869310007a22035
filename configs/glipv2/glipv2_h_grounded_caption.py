# GLIPv2-H captions and grounds its words as glipv2_t_grounded_caption.py does, from a pre-trained checkpoint:
#   bash tools/dist_train.sh configs/glipv2/glipv2_h_grounded_caption.py 8 --cfg-options load_from=CHECKPOINT
_base_ = [
    '../_base_/models/glipv2_h_caption.py',
    '../_base_/datasets/flickr30k_grounded_caption.py',
    '../_base_/schedules/caption_epochs.py',
    '../_base_/runtime.py',
]

model = dict(
    backbone=dict(grad_checkpointing=True),
    language_model=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
)
auto_scale_lr = dict(base_batch_size=64, enable=False)
