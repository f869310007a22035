# GLIPv2-H with the caption head of glipv2_b_caption.py.
_base_ = './glipv2_h.py'

model = dict(
    caption_head=dict(type='CaptionHead', text_channels=512, vocab_size=49408, label_smoothing=0.1),
    test_cfg=dict(caption=dict(beam_size=5, max_words=20, length_penalty=1.0, no_repeat_ngram=0)),
)
