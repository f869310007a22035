# GLIPv2-H on COCO detection, the whole network, from any checkpoint (5 epochs at 5e-6):
#   bash tools/dist_train.sh configs/glipv2/glipv2_h_coco.py 8 --cfg-options load_from=CHECKPOINT
_base_ = ['../_base_/models/glipv2_h.py', '../_base_/coco_large.py']

model = dict(
    backbone=dict(grad_checkpointing=True),
    language_model=dict(grad_checkpointing=True),
    fusion=dict(grad_checkpointing=True),
)
