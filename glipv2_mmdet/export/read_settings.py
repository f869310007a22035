"""What a model is run with outside the graph, collected for the runner from its parts and its test pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import ConfigDict

from glipv2_mmdet.export.exportable import ExportError
from glipv2_mmdet.export.runtime.settings import Settings
from glipv2_mmdet.models.detectors import GLIPv2
from glipv2_mmdet.version import __version__

RESIZES = ('Resize', 'FixScaleResize')


def read_settings(pipeline: Sequence[Mapping[str, Any]], detector: GLIPv2, phrases: Sequence[str] = ()) -> Settings:
    """Preprocessing, decoding and names of a model.

    Args:
        pipeline: steps of the test pipeline, which say how images are scaled.
        detector: with its preprocessor and test settings.
        phrases: of a fixed prompt.

    Raises:
        ExportError: they ask for something that the runner does not do.
    """
    test_cfg = detector.test_cfg
    nms = test_cfg.get('nms', {})
    if nms.get('type', 'nms') != 'nms' or nms.get('class_agnostic', False):
        raise ExportError(
            f'test_cfg.nms is {dict(nms)}. The runner has plain suppression per phrase: set '
            "type='nms' without class_agnostic."
        )
    resize, backend, rounds = _resize(pipeline)
    preprocessor = detector.data_preprocessor
    # mmdet reads files in BGR order; the preprocessor turns that round or not
    order = 'rgb' if getattr(preprocessor, '_channel_conversion', False) else 'bgr'
    normalised = getattr(preprocessor, '_enable_normalize', False)
    return Settings(
        version=__version__,
        phrases=tuple(phrases),
        max_tokens=detector.language_model.tokenizer.max_tokens,
        resize=resize,
        resize_with=backend,
        resize_rounds=rounds,
        channel_order=order,
        mean=tuple(preprocessor.mean.flatten().tolist()) if normalised else (0.0, 0.0, 0.0),
        std=tuple(preprocessor.std.flatten().tolist()) if normalised else (1.0, 1.0, 1.0),
        pad_divisor=max(int(preprocessor.pad_size_divisor), 1),
        strides=tuple(width for width, _ in detector.bbox_head.anchor_generator.strides),
        score_thr=float(test_cfg.get('score_thr', 0)),
        nms_pre=int(test_cfg.get('nms_pre', -1)),
        min_box_size=float(test_cfg.get('min_bbox_size', -1)),
        iou_threshold=float(nms.get('iou_threshold', 1.0)),
        max_per_image=_max_per_image(test_cfg),
        mask_threshold=float(test_cfg.get('mask_thr_binary', 0.5)),
    )


def _max_per_image(test_cfg: ConfigDict) -> int:
    """The lower one of the limits of a prompt and of an image; there is one prompt."""
    limits = [limit for name in ('max_per_prompt', 'max_per_img') if (limit := test_cfg.get(name, -1)) >= 0]
    return min(limits, default=-1)


def _resize(pipeline: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, int] | None, str, bool]:
    """(longer, shorter) side, backend and rounding of the first scaling of the test pipeline."""
    for transform in pipeline:
        if transform['type'] not in RESIZES:
            continue
        scale, backend = transform.get('scale'), transform.get('backend', 'cv2')
        bilinear = transform.get('interpolation', 'bilinear') == 'bilinear'
        if not (transform.get('keep_ratio', False) and bilinear and isinstance(scale, (tuple, list))):
            raise ExportError(
                f'The test pipeline scales images by {dict(transform)}. The runner scales with '
                'keep_ratio=True, a scale of two sides and bilinear interpolation: change the config.'
            )
        return (max(scale), min(scale)), backend, transform['type'] == 'Resize'
    return None, 'cv2', True
