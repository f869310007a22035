# Ablation on "shapes", row 5 of 6: localisation, region-word loss and inter-image contrast.
#   bash tools/dist_train.sh configs/glipv2/ablation/loc_intra_inter.py 2 --cfg-options randomness.seed=0
_base_ = './loc_intra.py'

# the temperature starts as sharp as that of the head: a short run has no time to learn it
model = dict(
    inter_loss=dict(
        type='InterImageContrast',
        channels=_base_.model.bbox_head.channels,
        text_channels=_base_.model.bbox_head.text_channels,
        init_log_scale=_base_.model.bbox_head.init_log_scale,
    )
)
