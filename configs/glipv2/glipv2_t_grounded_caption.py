# GLIPv2-T captions and grounds its words: L_lm with L_intra and L_loc, on Flickr30k with boxes and COCO without:
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_grounded_caption.py 8 --cfg-options load_from=CHECKPOINT
#   bash tools/dist_test.sh configs/glipv2/glipv2_t_grounded_caption.py CHECKPOINT 8
_base_ = [
    '../_base_/models/glipv2_t_caption.py',
    '../_base_/datasets/flickr30k_grounded_caption.py',
    '../_base_/schedules/caption_epochs.py',
    '../_base_/runtime.py',
]

model = dict(backbone=dict(grad_checkpointing=True), fusion=dict(grad_checkpointing=True))
auto_scale_lr = dict(base_batch_size=64, enable=False)
