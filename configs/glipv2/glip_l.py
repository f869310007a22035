# GLIP-L: Swin-L, 8 fusion blocks, all of GLIP's data. After "glipv2 download glip-l --out .":
#   bash tools/dist_test.sh configs/glipv2/glip_l.py glip_l-abfe026b.pth 8
_base_ = './glip_t_b.py'

model = dict(
    backbone=dict(
        embed_dim=192,
        depths=(2, 2, 18, 2),
        num_heads=(6, 12, 24, 48),
        window_size=12,
        drop_path_rate=0.4,
        pretrained='swin_large_patch4_window12_384.ms_in22k',
    ),
    neck=dict(in_channels=[384, 768, 1536]),
    fusion=dict(num_blocks=8),
)
