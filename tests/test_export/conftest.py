"""One small detector with masks, exported once per way of exporting."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmdet.apis import inference_detector
from mmengine.config import Config
from mmengine.structures import InstanceData

from glipv2_mmdet.export import OnnxDetector, export_onnx
from glipv2_mmdet.models import GLIPv2
from tests.test_models.nano import build_mask_detector

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(96, 128), keep_ratio=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_path', 'ori_shape', 'img_shape', 'scale_factor', 'text', 'custom_entities'),
    ),
]
NAMES = ('red circle', 'traffic_light (big)', 'dog')


@pytest.fixture(scope='session')
def detector() -> GLIPv2:
    pytest.importorskip('onnx', reason='needs the extra "export": pip install "glipv2_mmdet[export]"')
    pytest.importorskip('onnxruntime', reason='needs the extra "export": pip install "glipv2_mmdet[export]"')
    detector = build_mask_detector(score_thr=0.0, max_per_img=40)
    # scores around a half, and masks with pixels on both sides of it
    torch.nn.init.normal_(detector.bbox_head.bias_lang, std=0.3)
    torch.nn.init.zeros_(detector.bbox_head.bias0)
    torch.nn.init.normal_(detector.mask_head.text_projection.weight, std=30)
    detector.cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=PIPELINE))))
    return detector


@pytest.fixture(scope='session')
def any_prompt(detector: GLIPv2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(detector, PIPELINE, tmp_path_factory.mktemp('any_prompt'))


@pytest.fixture(scope='session')
def fixed_prompt(detector: GLIPv2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(detector, PIPELINE, tmp_path_factory.mktemp('fixed'), NAMES, fixed=True)


@pytest.fixture(scope='session')
def any_prompt_runner(any_prompt: Path) -> OnnxDetector:
    return OnnxDetector(any_prompt, threads=1)


@pytest.fixture(scope='session')
def fixed_prompt_runner(fixed_prompt: Path) -> OnnxDetector:
    return OnnxDetector(fixed_prompt.parent, threads=1)


def torch_result(detector: GLIPv2, image, names) -> InstanceData:
    """What the detector itself finds in an RGB image."""
    bgr = image[..., ::-1].copy()
    return inference_detector(detector, bgr, text_prompt=list(names), custom_entities=True).pred_instances.numpy()
