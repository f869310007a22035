# GLIPv2-T with a caption head: text is read left to right, the image does not see it. Beam search as Oscar and VinVL
# decode; the GLIPv2 paper does not say how it does.
_base_ = './glipv2_t.py'

model = dict(
    caption_head=dict(type='CaptionHead', text_channels=768, vocab_size=30522, label_smoothing=0.1),
    test_cfg=dict(caption=dict(beam_size=5, max_words=20, length_penalty=1.0, no_repeat_ngram=0)),
)
