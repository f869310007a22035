"""Models of the shipped configs with random weights, and random inputs for them: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import glipv2_mmdet  # noqa: F401  (before anything imports mmdet)

# isort: split
from mmdet.datasets import CocoDataset
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from benchmarks.word_vocabulary import write_vocabulary
from glipv2_mmdet.models import GLIPv2
from glipv2_mmdet.text import prompt_from_classes

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
#: Eight words, three phrases.
CAPTION = 'a brown dog and two cats by trees'
CAPTION_SPANS = [[[0, 11]], [[16, 24]], [[28, 33]]]
CLASSES = CocoDataset.METAINFO['classes']


def read_model(scale: str, training: bool = False) -> ConfigDict:
    """The model of a config.

    Args:
        scale: ``nano``, ``t``, ``b`` or ``h``, or another ending of ``configs/_base_/models/glipv2_*.py``.
        training: with the losses of pre-training.
    """
    name = f'_base_/models/glipv2_{scale}'
    if training:
        name = 'glipv2/ablation/all' if scale == 'nano' else f'glipv2/glipv2_{scale}_pretrain'
    return Config.fromfile(CONFIGS / f'{name}.py').model


def build_random(scale: str, device: torch.device, training: bool = False) -> GLIPv2:
    """A detector with random weights; see :func:`read_model`.

    At inference no score is too low: weights that know nothing would leave no box for suppression to work on, where
    these leave it as many as ``nms_pre`` lets through.
    """
    model = read_model(scale, training)
    model.test_cfg.score_thr = 0.0
    with TemporaryDirectory() as folder:
        if model.language_model.type == 'CLIPTextEncoder':
            # CLIP's own vocabulary does not ship; in this one, too, each of these words is one token
            model.language_model.vocab = write_vocabulary(Path(folder), [*' '.join(CLASSES).split(), *CAPTION.split()])
        detector = MODELS.build(model)
    detector.init_weights()
    return detector.to(device).train(training)


def random_images(batch: int, height: int, width: int, device: torch.device) -> Tensor:
    """(B, 3, H, W) of normalised pixels, sides padded to multiples of 32 as the data preprocessor does."""
    return torch.randn(batch, 3, height + -height % 32, width + -width % 32).to(device)


def class_sample(height: int, width: int, names: tuple[str, ...] = CLASSES) -> DetDataSample:
    """An image that is asked for a list of classes."""
    return DetDataSample(metainfo=_shapes(height, width) | dict(text=names))


def caption_sample(
    height: int, width: int, caption: str = CAPTION, spans: list[list[list[int]]] = CAPTION_SPANS
) -> DetDataSample:
    """An image that is asked for the phrases of a sentence."""
    return DetDataSample(metainfo=_shapes(height, width) | dict(text=caption, tokens_positive=spans))


def training_sample(
    height: int, width: int, device: torch.device, num_boxes: int = 8, names: tuple[str, ...] = CLASSES
) -> DetDataSample:
    """An image with boxes of all sizes and places, whose classes are drawn from ``names``."""
    size = torch.tensor([width, height])
    corners = torch.rand(num_boxes, 2) * size / 2
    boxes = torch.cat((corners, corners + (0.05 + 0.4 * torch.rand(num_boxes, 2)) * size), dim=1)
    sample = DetDataSample(metainfo=_shapes(height, width) | dict(prompt=prompt_from_classes(names)))
    sample.gt_instances = InstanceData(
        bboxes=boxes.to(device), labels=torch.randint(len(names), (num_boxes,)).to(device)
    )
    return sample


def _shapes(height: int, width: int) -> dict:
    return dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0))
