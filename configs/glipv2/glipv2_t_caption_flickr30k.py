# The grounded captioning model on Flickr30k Entities, a box for each phrase of a caption read left to right: R@1, 5, 10
#   bash tools/dist_test.sh configs/glipv2/glipv2_t_caption_flickr30k.py CHECKPOINT 8
_base_ = ['../_base_/models/glipv2_t_caption.py', '../_base_/datasets/flickr30k.py', '../_base_/runtime.py']

val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
