# GLIPv2-T on COCO val2017 with 12 scales and mirrored pictures; any GLIPv2-T checkpoint, zero-shot or fine-tuned:
#   bash tools/dist_test.sh configs/glipv2/glipv2_t_coco_multi_scale.py CHECKPOINT 8 --tta
_base_ = ['./glipv2_t_coco_zero_shot.py', '../_base_/tta.py']
