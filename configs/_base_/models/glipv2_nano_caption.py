# The nano model with a caption head of its width.
_base_ = './glipv2_nano.py'

model = dict(
    # no smoothing: with the few words of a small world, a tenth of the target on all others is too much
    caption_head=dict(type='CaptionHead', text_channels=96, vocab_size=30522, label_smoothing=0.0),
    test_cfg=dict(caption=dict(beam_size=3, max_words=24, length_penalty=1.0, no_repeat_ngram=0)),
)
