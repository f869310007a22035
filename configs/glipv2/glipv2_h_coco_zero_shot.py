# GLIPv2-H on COCO val2017 (its pre-training includes COCO's training pictures), the 80 names as one prompt: box AP.
#   bash tools/dist_test.sh configs/glipv2/glipv2_h_coco_zero_shot.py CHECKPOINT 8
# ODinW takes its model and test pipeline from here:
#   bash tools/dist_odinw.sh configs/glipv2/glipv2_h_coco_zero_shot.py CHECKPOINT 8 --root data/odinw --set 13
_base_ = ['../_base_/models/glipv2_h.py', '../_base_/datasets/coco_zero_shot.py', '../_base_/runtime.py']

val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
