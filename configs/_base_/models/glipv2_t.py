# GLIPv2-T: Swin-T, BERT-base, 6 fusion blocks (GLIP-T's architecture). A training starts from ImageNet and BERT weights
# (pretrained), or from a checkpoint (load_from), which makes those unnecessary.
model = dict(
    type='GLIPv2',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[103.53, 116.28, 123.675],
        std=[57.375, 57.12, 58.395],
        bgr_to_rgb=False,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='TimmSwin',
        embed_dim=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        drop_path_rate=0.2,
        out_indices=(1, 2, 3),
        pretrained='swin_tiny_patch4_window7_224.ms_in1k',
    ),
    language_model=dict(
        type='BertTextEncoder',
        vocab='bert-base-uncased',
        max_tokens=256,
        pretrained='google-bert/bert-base-uncased',
    ),
    neck=dict(
        type='FPN',
        in_channels=[192, 384, 768],
        out_channels=256,
        start_level=0,
        relu_before_extra_convs=True,
        add_extra_convs='on_output',
        num_outs=5,
    ),
    fusion=dict(type='VLFusionDyHead', num_blocks=6, channels=256, text_channels=768),
    bbox_head=dict(type='GroundingATSSHead', channels=256, text_channels=768),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=100
    ),
)
