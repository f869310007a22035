# GLIPv2-B: Swin-B, the text encoder of CLIP and UniCL, 8 fusion blocks. Starting weights: docs/encoders.md.
# From the paper: Swin-B, a pre-LayerNorm text encoder, 256 words. Where it is silent, from the public GLIP code and its
# GLIP-L config: 8 blocks, stochastic depth 0.4, 512 channels and 8 heads for words. Window 7 is UniCL's Swin-B.
_base_ = './glipv2_t.py'

# CLIP's vocab.json and merges.txt belong into this folder
clip_vocab = 'data/clip_vocab'
# image and text encoder of UniCL's Swin-B; a training starts from them
unicl = 'weights/unicl_swin_base.pth'

model = dict(
    backbone=dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), drop_path_rate=0.4, pretrained=unicl),
    language_model=dict(_delete_=True, type='CLIPTextEncoder', vocab=clip_vocab, max_tokens=256, pretrained=unicl),
    neck=dict(in_channels=[256, 512, 1024]),
    fusion=dict(num_blocks=8, text_channels=512, text_heads=8, text_layer='clip'),
    bbox_head=dict(text_channels=512),
)
