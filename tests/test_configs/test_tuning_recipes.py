"""Recipes of prompt tuning and fine-tuning: what learns, at which rates."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper

from tests.test_configs.reading import CONFIGS, build_on_meta, make_sample, read_config, read_recipe

PROMPT_RECIPES = sorted((CONFIGS / 'glipv2').glob('*_prompt*.py'))


@pytest.mark.parametrize('path', PROMPT_RECIPES, ids=lambda path: path.stem)
def test_a_prompt_recipe_watches_one_metric_and_has_glips_rates(path):
    config = read_config(path)
    watched = {part.monitor for part in (*config.param_scheduler, *config.custom_hooks)}
    assert len(watched) == 1 and len(config.custom_hooks) == 2
    assert (config.optim_wrapper.optimizer.lr, config.optim_wrapper.optimizer.weight_decay) == (0.05, 0.25)
    assert config.load_from is None and config.model.init_cfg.type == 'Pretrained'


@pytest.mark.slow
@pytest.mark.parametrize('path', PROMPT_RECIPES, ids=lambda path: path.stem)
def test_a_prompt_recipe_trains_the_prompt_alone(path):
    model = build_on_meta(read_config(path))
    learning = {name: parameter.numel() for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning and all(name.startswith('prompt_tuning.residuals.') for name in learning)
    if 'nano' in path.stem:
        assert sum(learning.values()) < 0.005 * sum(parameter.numel() for parameter in model.parameters())
    if 'lvis' in path.stem:
        assert len(learning) == 31
        assert 'BuildPrompt' not in [step.type for step in read_config(path).train_dataloader.dataset.pipeline]


@pytest.mark.parametrize(
    ('name', 'names'),
    [
        ('glipv2_nano_raccoon_prompt', ('raccoon',)),
        (
            'glipv2_nano_shapes_prompt',
            ('red star', 'green triangle', 'blue circle', 'yellow square', 'purple cross', 'white diamond'),
        ),
    ],
)
def test_nano_prompt_recipes_step(name, names):
    config = read_recipe(name)
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    optimizer.update_params(
        sum(
            model.loss(torch.randn(1, 3, 128, 128), [make_sample(names, [[20, 30, 90, 100]], [0], (128, 128))]).values()
        )
    )
    assert model.prompt_tuning.residuals[0].abs().max().item() == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(('scale', 'rate', 'epochs'), [('t', 1e-5, 24), ('b', 5e-6, 5), ('h', 5e-6, 5)])
def test_fine_tuning_on_coco_has_the_papers_rates(scale, rate, epochs):
    config = read_recipe(f'glipv2_{scale}_coco')
    assert (config.optim_wrapper.optimizer.lr, config.train_cfg.max_epochs) == (rate, epochs)
    encoder = config.model.language_model
    (step,) = (step for step in config.train_dataloader.dataset.pipeline if step.type == 'BuildPrompt')
    assert step.sample is False and step.get('vocab', 'bert-base-uncased') == encoder.vocab
