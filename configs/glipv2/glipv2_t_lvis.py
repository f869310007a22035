# GLIPv2-T on LVIS v1 instance segmentation, the whole network, from a second-stage checkpoint (24 epochs at 1e-5):
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_lvis.py 8 --cfg-options load_from=CHECKPOINT
_base_ = [
    '../_base_/models/glipv2_t_mask.py',
    '../_base_/datasets/lvis_masks.py',
    '../_base_/schedules/adamw_epochs.py',
    '../_base_/runtime.py',
]

model = dict(
    backbone=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
    # fixed AP needs every prompt's detections; run lengths, because that can be 9,300 masks of a picture
    test_cfg=dict(chunked_size=40, max_per_prompt=300, max_per_img=-1, rle_masks=True),
)
auto_scale_lr = dict(base_batch_size=32, enable=False)
