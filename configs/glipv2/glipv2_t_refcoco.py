# RefCOCO, RefCOCO+ and RefCOCOg with any GLIPv2-T checkpoint: precision of the best box, IoU of the best mask.
#   bash tools/dist_test.sh configs/glipv2/glipv2_t_refcoco.py CHECKPOINT 8
_base_ = ['../_base_/models/glipv2_t_mask.py', '../_base_/datasets/refcoco.py', '../_base_/runtime.py']

val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
