# GLIPv2-T with its mask head: one hourglass of one scale, as wide as the pyramid, RoIs of 14 and masks of 28.
# The H scale has num_scales=2, num_layers=4, mask_channels=384 and needs roi_size=16: 14 cannot be halved twice.
_base_ = './glipv2_t.py'

model = dict(
    mask_head=dict(type='HourglassMaskHead', channels=256, text_channels=768, num_scales=1, num_layers=1, roi_size=14),
    test_cfg=dict(mask_thr_binary=0.5),
)
