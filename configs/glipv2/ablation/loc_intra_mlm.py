# Ablation on "shapes", row 4 of 6: localisation, region-word loss and masked language modelling.
#   bash tools/dist_train.sh configs/glipv2/ablation/loc_intra_mlm.py 2 --cfg-options randomness.seed=0
_base_ = './loc_intra.py'

model = dict(mlm_head=dict(type='MLMHead', text_channels=_base_.model.bbox_head.text_channels))
