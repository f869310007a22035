# GLIPv2-T on COCO instance segmentation, the whole network, from a second-stage checkpoint (24 epochs at 1e-5):
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_coco_masks.py 8 --cfg-options load_from=CHECKPOINT
_base_ = [
    '../_base_/models/glipv2_t_mask.py',
    '../_base_/datasets/coco_masks.py',
    '../_base_/schedules/adamw_epochs.py',
    '../_base_/runtime.py',
]

model = dict(backbone=dict(grad_checkpointing=True), fusion=dict(grad_checkpointing=True))
auto_scale_lr = dict(base_batch_size=32, enable=False)
