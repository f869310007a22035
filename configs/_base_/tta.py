# Multi-scale test with mirrored pictures, used with --tta: the settings of GLIP's public code. Whether the paper's
# figures marked * have them all is not stated. 24 views per picture, the largest of 1800 x 2500 pixels.
scales = [400, 500, 600, 640, 700, 900, 1000, 1100, 1200, 1300, 1400, 1800]  # short sides
max_long_side = 2500

tta_model = dict(
    type='GroundedTTAModel',
    tta_cfg=dict(
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
        # per scale: roots of the areas that count, in pixels of the resized picture
        area_ranges=[
            (96, 10000),
            (96, 10000),
            (64, 10000),
            (64, 10000),
            (64, 10000),
            (0, 10000),
            (0, 10000),
            (0, 256),
            (0, 256),
            (0, 192),
            (0, 192),
            (0, 96),
        ],
    ),
)
tta_pipeline = [
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='FixScaleResize', scale=(scale, max_long_side), keep_ratio=True, backend='pillow')
                for scale in scales
            ],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [
                dict(
                    type='PackDetInputs',
                    meta_keys=(
                        'img_id',
                        'img_path',
                        'ori_shape',
                        'img_shape',
                        'scale_factor',
                        'flip',
                        'flip_direction',
                        'text',
                        'custom_entities',
                        'tokens_positive',
                        'caption_prompt',
                    ),
                )
            ],
        ],
    ),
]
