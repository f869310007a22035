"""Parameter groups: every factor that applies to a parameter multiplies."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from glipv2_mmdet.engine import MultiplyingOptimWrapperConstructor  # noqa: F401  (registers it)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.language_model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
        self.backbone = nn.Module()
        self.backbone.attn = nn.Module()
        self.backbone.attn.relative_position_bias_table = nn.Parameter(torch.zeros(4))
        self.backbone.norm = nn.LayerNorm(3)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def build(**paramwise):
    model = Model()
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-2),
            paramwise_cfg=paramwise,
            constructor='MultiplyingOptimWrapperConstructor',
        ),
    )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = wrapper.optimizer.param_groups
    return groups, {
        names[id(parameter)]: (round(group['lr'], 12), group['weight_decay'])
        for group in groups
        for parameter in group['params']
    }


def test_language_rate_and_bias_rules_multiply():
    groups, settings = build(bias_lr_mult=2.0, bias_decay_mult=0.0, custom_keys=dict(language_model=dict(lr_mult=0.1)))
    assert settings == {
        'language_model.0.weight': (1e-5, 1e-2),
        'language_model.1.weight': (1e-5, 1e-2),
        'language_model.0.bias': (2e-5, 0.0),
        'language_model.1.bias': (2e-5, 0.0),
        'backbone.norm.weight': (1e-4, 1e-2),
        'backbone.norm.bias': (2e-4, 0.0),
        'backbone.attn.relative_position_bias_table': (2e-4, 0.0),
    }
    assert len(groups) == 4


def test_the_longest_key_counts():
    _, settings = build(
        custom_keys={'language_model': dict(lr_mult=0.1), 'language_model.1': dict(lr_mult=0.5, decay_mult=0.0)}
    )
    assert settings['language_model.0.weight'] == (1e-5, 1e-2)
    assert settings['language_model.1.weight'] == (5e-5, 0.0)


def test_rules_it_does_not_know_are_refused():
    with pytest.raises(ValueError, match=r"paramwise_cfg has \['norm_decay_mult'\]. Expected"):
        build(norm_decay_mult=0.0)
    with pytest.raises(ValueError, match=r"custom_keys\['a'\] has \['lr'\]"):
        build(custom_keys=dict(a=dict(lr=1.0)))
