"""Parts and inputs small enough for every test file of this folder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from glipv2_mmdet.models import GLIPv2
from glipv2_mmdet.structures import FusedFeatures, TextFeatures

CHANNELS, TEXT_CHANNELS = 16, 32


def text_features(lengths: Sequence[int], channels: int = TEXT_CHANNELS, seed: int = 0) -> TextFeatures:
    """Random words; padding holds large numbers, so that whoever reads it is found out."""
    generator = torch.Generator().manual_seed(seed)
    shape = len(lengths), max(lengths), channels
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    hidden = torch.randn(shape, generator=generator).masked_fill(~mask.unsqueeze(-1), 30.0)
    embedded = torch.randn(shape, generator=generator) * mask.unsqueeze(-1)
    return TextFeatures(hidden=hidden, embedded=embedded, mask=mask, lengths=tuple(lengths))


def pyramid(
    batch: int = 2,
    channels: int = CHANNELS,
    height: int = 8,
    width: int = 9,
    num_levels: int = 5,
    seed: int = 1,
) -> tuple[torch.Tensor, ...]:
    """Random levels whose sides halve, rounded up."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(batch, channels, -(-height // 2**i), -(-width // 2**i), generator=generator)
        for i in range(num_levels)
    )


def fused_features(lengths: Sequence[int] = (6, 4), **kwargs) -> FusedFeatures:
    text = text_features(lengths)
    return FusedFeatures(levels=pyramid(len(lengths), **kwargs), text=text, words=text.hidden)


MASK_HEAD = dict(type='HourglassMaskHead', channels=CHANNELS, text_channels=TEXT_CHANNELS)
ALL_BUT_THE_MASK_HEAD = ('backbone', 'language_model', 'neck', 'fusion', 'bbox_head')


def build_mask_detector(frozen_parts: Sequence[str] = (), **test_cfg) -> GLIPv2:
    """:func:`build_detector` with a mask head."""
    return build_detector(dict(mask_head=MASK_HEAD, frozen_parts=frozen_parts), **test_cfg)


def detector_settings(parts: dict | None = None, **test_cfg) -> dict:
    """The config of :func:`build_detector`."""
    return dict(
        type='GLIPv2',
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
        backbone=dict(
            type='TimmSwin',
            embed_dim=24,
            depths=(1, 1, 1, 1),
            num_heads=(2, 2, 4, 4),
            window_size=4,
            drop_path_rate=0.0,
        ),
        language_model=dict(
            type='BertTextEncoder',
            config=dict(
                hidden_size=TEXT_CHANNELS,
                num_hidden_layers=1,
                num_attention_heads=4,
                intermediate_size=48,
            ),
        ),
        neck=dict(
            type='FPN',
            in_channels=[48, 96, 192],
            out_channels=CHANNELS,
            start_level=0,
            relu_before_extra_convs=True,
            add_extra_convs='on_output',
            num_outs=5,
        ),
        fusion=dict(
            type='VLFusionDyHead',
            num_blocks=1,
            channels=CHANNELS,
            text_channels=TEXT_CHANNELS,
            attention_channels=32,
            attention_heads=4,
            text_heads=4,
            num_groups=4,
        ),
        bbox_head=dict(type='GroundingATSSHead', channels=CHANNELS, text_channels=TEXT_CHANNELS),
        test_cfg={
            **dict(
                nms_pre=30,
                min_bbox_size=0,
                score_thr=0.0,
                nms=dict(type='nms', iou_threshold=0.6),
                max_per_img=1000,
            ),
            **test_cfg,
        },
    ) | (parts or {})


def build_detector(parts: dict | None = None, **test_cfg) -> GLIPv2:
    """A whole detector with random weights and spread-out scores, in eval mode; ``parts`` adds to it or replaces."""
    torch.manual_seed(0)
    detector = MODELS.build(detector_settings(parts, **test_cfg))
    detector.init_weights()
    for name in ('box', 'centerness', 'text_projection'):
        torch.nn.init.normal_(getattr(detector.bbox_head, name).weight, std=0.5)
    return detector.eval()


def data_sample(
    text=None, height: int = 64, width: int = 64, boxes: Sequence = (), labels: Sequence[int] = (), **meta
) -> DetDataSample:
    """One image's sample: prompt, shapes and ground truth."""
    sample = DetDataSample(
        gt_instances=InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
            labels=torch.tensor(labels, dtype=torch.long),
        )
    )
    sample.set_metainfo(
        dict(
            img_shape=(height, width),
            ori_shape=(height, width),
            scale_factor=(1.0, 1.0),
            img_path='photo.jpg',
            **meta,
        )
    )
    if text is not None:
        sample.set_metainfo(dict(text=text))
    return sample
