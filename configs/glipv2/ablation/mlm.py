# Ablation on "shapes", row 2 of 6: masked language modelling alone. It never learns to place a box: the paper has
# values for this row after fine-tuning only.
#   bash tools/dist_train.sh configs/glipv2/ablation/mlm.py 2 --cfg-options randomness.seed=0
_base_ = './loc_intra_mlm.py'

# weight zero, not absent: distributed training waits for a gradient of every parameter of the head
model = dict(
    bbox_head=dict(
        loss_word=dict(type='RegionWordFocalLoss', loss_weight=0.0),
        loss_box=dict(type='LocalizationLoss', giou_weight=0.0, centerness_weight=0.0),
    )
)
