# GLIPv2-T on LVIS v1 minival without having seen it: standard and fixed AP of boxes.
#   bash tools/dist_test.sh configs/glipv2/glipv2_t_lvis_zero_shot.py CHECKPOINT 8
_base_ = ['../_base_/models/glipv2_t.py', '../_base_/datasets/lvis_zero_shot.py', '../_base_/runtime.py']

# 31 prompts of at most 40 names; fixed AP needs the detections of all, standard AP takes the best 300 by itself
model = dict(test_cfg=dict(chunked_size=40, max_per_prompt=300, max_per_img=-1))
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
