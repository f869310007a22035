# GLIPv2-H with all losses, in one stage: the recipe of B with CoSwin-H as image encoder:
#   bash tools/dist_train.sh configs/glipv2/glipv2_h_pretrain.py 8
# The paper starts from Florence's weights, which were never published. Text encoder weights can be UniCL's or CLIP's.
# It names the image encoder and no size of this scale's detector: those of CoSwin are assumed
# (glipv2_mmdet/models/backbones/coswin.py lists them), the number of fusion blocks is that of B.
_base_ = './glipv2_b_pretrain.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='CoSwin',
        embed_dim=352,
        depths=(2, 2, 18, 2),
        num_heads=(11, 22, 44, 88),
        window_size=7,
        drop_path_rate=0.4,
        out_indices=(1, 2, 3),
        grad_checkpointing=True),
    neck=dict(in_channels=[704, 1408, 2816]))
