# The nano model with a mask head of its width; logits start as sharp as those of its grounding head.
_base_ = './glipv2_nano.py'

model = dict(
    mask_head=dict(type='HourglassMaskHead', channels=64, text_channels=96, init_log_scale=-1.0),
    test_cfg=dict(mask_thr_binary=0.5),
)
