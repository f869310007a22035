"""Nano models with one block per stage and random weights, each built once per process."""

from __future__ import annotations

import copy
from functools import cache

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from glipv2_mmdet import GLIPv2Inferencer
from glipv2_mmdet.apis.model_names import config_of
from glipv2_mmdet.models import GLIPv2

#: A random model scores about 0.01; without this most calls would end before there is a box to make.
SPREAD = 0.1


def tiny_config(name: str) -> Config:
    """The shipped config of a short name, smaller."""
    config = Config.fromfile(config_of(name))
    config.merge_from_dict(
        {'model.backbone.depths': (1, 1, 1, 1), 'model.test_cfg.score_thr': 0.0, 'model.test_cfg.nms_pre': 30}
    )
    head = config.model.get('vqa_head')
    if head:
        head.answers, head.num_answers = ['yes', 'no', '2'], 3
    return config


@cache
def tiny_inferencer(name: str) -> GLIPv2Inferencer:
    """An inferencer whose scores are spread out."""
    MMLogger.get_current_instance().setLevel('ERROR')
    torch.manual_seed(0)
    inferencer = GLIPv2Inferencer(tiny_config(name), device='cpu')
    for layer in ('box', 'centerness', 'text_projection'):
        nn.init.normal_(getattr(inferencer.model.bbox_head, layer).weight, std=SPREAD)
    return inferencer


def tiny_detector(name: str) -> GLIPv2:
    """The same model as mmdet's ``inference_detector`` takes it: with its config, as it was before the last call.

    Given an array, that function writes into the config of the model, which then reads no file any more.
    """
    model = tiny_inferencer(name).model
    model.cfg = copy.deepcopy(_config_of_detector(name))
    return model


@cache
def _config_of_detector(name: str) -> Config:
    return tiny_config(name)
