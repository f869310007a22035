# GLIPv2-H: GLIPv2-B with CoSwin-H. The paper names the image encoder and no size of this scale's detector: those of
# CoSwin are assumed (glipv2_mmdet/models/backbones/coswin.py lists them), the number of fusion blocks is that of B.
_base_ = './glipv2_b.py'

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
    ),
    neck=dict(in_channels=[704, 1408, 2816]),
)
