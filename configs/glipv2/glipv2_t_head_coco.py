# GLIPv2-T on COCO detection, the grounding head alone (box, centerness and text projections, score scale and bias):
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_head_coco.py 8 --cfg-options load_from=CHECKPOINT
# GLIP's linear probe: rate 1e-4, decay 0.05.
_base_ = './glipv2_t_coco.py'

model = dict(
    backbone=dict(grad_checkpointing=False),
    fusion=dict(grad_checkpointing=False),
    frozen_parts=('backbone', 'language_model', 'neck', 'fusion'),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0.05))
