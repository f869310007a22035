# GLIP-T (B): early fusion, pre-trained on Objects365. Zero-shot use of the public weights, after conversion:
#   python tools/model_converters/glip_to_glipv2.py glip_tiny_model_o365.pth --out glip_t_b.pth
#   bash tools/dist_test.sh configs/glipv2/glip_t_b.py glip_t_b.pth 8
_base_ = ['../_base_/models/glipv2_t.py', '../_base_/datasets/coco_zero_shot.py', '../_base_/runtime.py']

val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
