# GLIPv2 at laptop scale: every part of GLIPv2-T, small enough to learn on two CPU cores in minutes.
_base_ = './glipv2_t.py'

model = dict(
    backbone=dict(
        embed_dim=32,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        window_size=5,
        drop_path_rate=0.0,
        pretrained=None,
        from_scratch=True,
    ),
    language_model=dict(
        pretrained=None,
        from_scratch=True,
        frozen_words=True,
        config=dict(
            hidden_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=192,
            initializer_range=0.08,  # BERT's 0.02 is for 768 channels
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
    ),
    neck=dict(in_channels=[64, 128, 256], out_channels=64),
    fusion=dict(
        num_blocks=1,
        channels=64,
        text_channels=96,
        attention_channels=128,
        attention_heads=4,
        text_heads=4,
        text_ffn_channels=192,
        dropout=0.0,
    ),
    bbox_head=dict(
        channels=64,
        text_channels=96,
        init_log_scale=-1.0,
        # one shared block serves words and boxes; from scratch, words alone would shape it
        loss_box=dict(type='LocalizationLoss', giou_weight=3.0),
    ),
)
