"""Shipped configs as the tests read and build them, and a sample for their models."""

from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from glipv2_mmdet.text import prompt_from_classes

CONFIGS = Path(__file__).parents[2] / 'configs'


def read_config(path, clip_vocab=None):
    """``clip_vocab`` is put where the model asks for CLIP's vocabulary."""
    config = Config.fromfile(path)
    if clip_vocab and config.get('model', {}).get('language_model', {}).get('type') == 'CLIPTextEncoder':
        config.model.language_model.vocab = clip_vocab
    head = config.get('model', {}).get('vqa_head')
    if head and isinstance(head.answers, str):  # made from files that are not here
        head.answers = [f'answer {k}' for k in range(head.num_answers)]
    return config


def read_recipe(name, clip_vocab=None):
    """A config of configs/glipv2 by its path there without ending."""
    return read_config(CONFIGS / 'glipv2' / f'{name}.py', clip_vocab)


def build_on_meta(config):
    """The meta device builds every module and no weight: full-width models in milliseconds and no memory."""
    with torch.device('meta'):
        return MODELS.build(config.model)


def make_sample(names, boxes, labels, shape):
    sample = DetDataSample(metainfo=dict(prompt=prompt_from_classes(names), img_shape=shape))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels, dtype=torch.long)
    )
    return sample
