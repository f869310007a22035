# Ablation on "shapes", row 6 of 6: all losses in one stage (the paper's row is two stages, the second without MLM).
#   bash tools/dist_train.sh configs/glipv2/ablation/all.py 2 --cfg-options randomness.seed=0
_base_ = './loc_intra_inter.py'

model = dict(mlm_head=dict(type='MLMHead', text_channels=_base_.model.bbox_head.text_channels))
