# GLIPv2-T on COCO detection, the whole network, from any checkpoint (24 epochs at 1e-5):
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_coco.py 8 --cfg-options load_from=CHECKPOINT
_base_ = [
    '../_base_/models/glipv2_t.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/adamw_epochs.py',
    '../_base_/runtime.py',
]

model = dict(backbone=dict(grad_checkpointing=True), fusion=dict(grad_checkpointing=True))
auto_scale_lr = dict(base_batch_size=32, enable=False)
