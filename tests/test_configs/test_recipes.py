"""Recipes have the paper's steps, rates and parameter groups."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS

from glipv2_mmdet.compat.cpu_distributed import use_single_precision_where_no_gpu
from tests.test_configs.reading import build_on_meta, read_recipe


@pytest.mark.parametrize(
    ('name', 'steps', 'drops'),
    [
        ('glipv2_t_pretrain', 330000, [221100, 293700]),
        ('glipv2_t_pretrain_stage2', 300000, [201000, 267000]),
        ('glipv2_b_pretrain', 1000000, [670000, 890000]),
        ('glipv2_b_pretrain_stage2', 500000, [335000, 445000]),
        ('glipv2_h_pretrain', 1000000, [670000, 890000]),
    ],
)
def test_rates_drop_at_67_and_89_percent(name, steps, drops):
    config = read_recipe(name)
    assert config.train_cfg.max_iters == steps
    assert [schedule.milestones for schedule in config.param_scheduler if schedule.type == 'MultiStepLR'] == [drops]
    assert drops == [round(0.67 * steps), round(0.89 * steps)]
    for schedule in config.param_scheduler:
        if schedule.get('param_name') == 'weight_decay':
            # GLIP's drop behind 0.667 times each milestone of the rate
            assert schedule.milestones == [round(0.667 * drop) for drop in drops]
    assert bool(config.get('custom_hooks')) == ('glipv2_t' in name)  # EMA at T only
    assert config.optim_wrapper.type == 'AmpOptimWrapper' and config.optim_wrapper.clip_grad.max_norm == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'language_rate', 'decay'),
    [('glipv2_t_pretrain', 1e-5, 1e-4), ('glipv2_b_pretrain', 1e-4, 1e-2), ('glipv2_h_pretrain', 1e-4, 1e-2)],
)
def test_parameter_groups_are_the_papers(name, language_rate, decay, clip_vocab):
    config = read_recipe(name, clip_vocab)
    assert use_single_precision_where_no_gpu(config) or torch.cuda.is_available()
    model = build_on_meta(config)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    settings = {
        id(parameter): (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    for parameter_name, parameter in model.named_parameters():
        rate = language_rate if parameter_name.startswith('language_model') else 1e-4
        is_bias = 'bias' in parameter_name.split('.')[-1]
        assert settings[id(parameter)] == pytest.approx((2 * rate, 0.0) if is_bias else (rate, decay)), parameter_name
    for schedule in config.param_scheduler:
        PARAM_SCHEDULERS.build(dict(schedule, optimizer=optimizer))


def test_averages_of_the_second_stage_keep_frozen_weights_to_the_last_bit():
    """mmdet's own average of equal numbers is off by a rounding after a few hundred steps."""
    (hook,) = read_recipe('glipv2_nano_shapes_masks').custom_hooks
    frozen = torch.nn.Linear(64, 64)
    average = MODELS.build(dict(type=hook.ema_type, model=frozen, momentum=hook.momentum))
    for _ in range(200):
        average.update_parameters(frozen)
    assert torch.equal(average.module.weight, frozen.weight)
