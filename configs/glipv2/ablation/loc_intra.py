# Ablation on "shapes", row 3 of 6: localisation and region-word loss alone, which is GLIP.
#   bash tools/dist_train.sh configs/glipv2/ablation/loc_intra.py 2 --cfg-options randomness.seed=0
_base_ = '../glipv2_nano_shapes_pretrain.py'
