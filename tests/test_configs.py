"""Every shipped config is read and its model built; the runnable ones also take a step."""
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.structures import InstanceData

from glipv2_mmdet.compat.cpu_distributed import use_single_precision_where_no_gpu
from glipv2_mmdet.text import prompt_from_classes
from tests.tiny_clip import write_folder

CONFIGS = Path(__file__).parents[1] / 'configs'
RUNNABLE = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)


def _name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


@pytest.mark.parametrize('path', RUNNABLE, ids=_name)
def test_a_config_starts_with_its_purpose_and_reads(path):
    assert path.read_text().startswith('# ')
    config = Config.fromfile(path)
    assert config.custom_imports['imports'] == ['glipv2_mmdet']


@pytest.fixture(scope='module')
def clip_vocab(tmp_path_factory):
    """CLIP's vocabulary does not ship; a small one stands in where a config asks for it."""
    return write_folder(tmp_path_factory.mktemp('clip') / 'vocabulary')


def _read(path, clip_vocab) -> Config:
    config = Config.fromfile(path)
    if config.get('model', {}).get('language_model', {}).get('type') == 'CLIPTextEncoder':
        config.model.language_model.vocab = clip_vocab
    return config


def _on_meta(config):
    # the meta device builds every module and no weight: full-width models in milliseconds and no memory
    with torch.device('meta'):
        return MODELS.build(config.model)


@pytest.mark.slow
@pytest.mark.parametrize('path', RUNNABLE, ids=_name)
def test_a_config_builds_its_model(path, clip_vocab):
    model = _on_meta(_read(path, clip_vocab))
    assert sum(parameter.numel() for parameter in model.parameters()) > 1e5


#: Row of the paper's ablation (table 4) -> which losses are on: localisation with region-word loss, inter-image, MLM.
ABLATION = dict(
    none=(True, False, False), mlm=(False, False, True), loc_intra=(True, False, False),
    loc_intra_mlm=(True, False, True), loc_intra_inter=(True, True, False), all=(True, True, True))


@pytest.mark.slow
@pytest.mark.parametrize('row', ABLATION)
def test_an_ablation_row_has_the_losses_of_its_name(row):
    config = Config.fromfile(CONFIGS / 'glipv2' / 'ablation' / f'{row}.py')
    model = MODELS.build(config.model)
    sample = _sample(['red circle', 'cat'], [[20, 30, 90, 100]], [0], (128, 128))
    losses = model.loss(torch.randn(1, 3, 128, 128), [sample])
    grounding, inter, mlm = ABLATION[row]
    assert all((losses[name] > 0) == grounding for name in ('loss_cls', 'loss_bbox', 'loss_centerness'))
    assert ('loss_inter' in losses, 'loss_mlm' in losses) == (inter, mlm)
    assert (config.train_cfg.max_iters == 1) == (row == 'none')


def test_ablation_rows_are_those_that_ship():
    assert {path.stem for path in (CONFIGS / 'glipv2' / 'ablation').glob('*.py')} == set(ABLATION)


def test_stage_two_drops_masked_language_modelling_only():
    first, second = (
        Config.fromfile(CONFIGS / 'glipv2' / f'glipv2_t_pretrain{stage}.py').model for stage in ('', '_stage2'))
    assert first.pop('mlm_head').type == 'MLMHead' and second.pop('mlm_head') is None
    assert first == second and first.inter_loss.type == 'InterImageContrast'


def _sample(names, boxes, labels, shape):
    sample = DetDataSample(metainfo=dict(prompt=prompt_from_classes(names), img_shape=shape))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long))
    return sample


@pytest.mark.slow
def test_glipv2_t_pretrain_steps_at_full_width():
    """The published widths on one 224 px image: a finite loss, and a gradient for every trainable parameter."""
    config = Config.fromfile(CONFIGS / 'glipv2' / 'glipv2_t_pretrain.py')
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    boxes = [[20, 30, 150, 200], [60, 60, 90, 100]]
    sample = _sample(['traffic light', 'person', 'cat'], boxes, [1, 0], (224, 224))

    losses = model.loss(torch.randn(1, 3, 224, 224), [sample])
    total = sum(losses.values())
    total.backward()

    assert torch.isfinite(total)
    trainable = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert [name for name, grad in trainable.items() if grad is None or not torch.isfinite(grad).all()] == []


RECIPES = ('glipv2_t_pretrain', 'glipv2_t_pretrain_stage2', 'glipv2_b_pretrain', 'glipv2_b_pretrain_stage2',
           'glipv2_h_pretrain', 'glipv2_b_bert_pretrain', 'data_scale/o365_goldg', 'data_scale/cap4m',
           'data_scale/cap12m')


def _recipe(name):
    return Config.fromfile(CONFIGS / 'glipv2' / f'{name}.py')


@pytest.mark.parametrize('name', RECIPES)
def test_prompts_are_counted_with_the_vocabulary_of_the_text_encoder(name):
    config = _recipe(name)
    encoder = config.model.language_model
    steps = [step for dataset in config.train_dataloader.dataset.datasets for step in dataset.pipeline
             if step.type == 'BuildPrompt']
    assert len(steps) == len(config.train_dataloader.dataset.datasets)
    assert {(step.vocab, step.max_tokens) for step in steps} == {(encoder.vocab, encoder.max_tokens)}


def test_data_of_each_recipe_is_the_papers():
    def folders(name):
        return [dataset.data_root.split('/')[1] for dataset in _recipe(name).train_dataloader.dataset.datasets]
    detection = ['objects365v1', 'coco', 'openimages', 'visual_genome', 'imagenet_boxes']
    goldg = ['gqa', 'flickr30k']
    assert folders('glipv2_t_pretrain') == ['objects365v1', *goldg, 'cap4m']
    assert folders('glipv2_t_pretrain_stage2') == ['objects365v1', *goldg]
    assert folders('glipv2_b_pretrain') == folders('glipv2_h_pretrain') == [*detection, *goldg, 'cc15m_sbu']
    assert folders('glipv2_b_pretrain_stage2') == [*detection, *goldg]
    assert folders('data_scale/o365_goldg') == ['objects365v1', *goldg]
    assert folders('data_scale/cap4m') == ['objects365v1', *goldg, 'cap4m']
    assert folders('data_scale/cap12m') == ['objects365v1', *goldg, 'cap12m']
    # GoldG of T leaves out the images of COCO
    files = [_recipe(name).train_dataloader.dataset.datasets[index].ann_file
             for name, index in (('glipv2_t_pretrain', 1), ('glipv2_b_pretrain', 5))]
    assert files == ['final_mixed_train_no_coco_vg.json', 'final_mixed_train_vg.json']


@pytest.mark.parametrize(('name', 'steps', 'drops'), [
    ('glipv2_t_pretrain', 330000, [221100, 293700]), ('glipv2_t_pretrain_stage2', 300000, [201000, 267000]),
    ('glipv2_b_pretrain', 1000000, [670000, 890000]), ('glipv2_b_pretrain_stage2', 500000, [335000, 445000]),
    ('glipv2_h_pretrain', 1000000, [670000, 890000])])
def test_rates_drop_at_67_and_89_percent(name, steps, drops):
    config = _recipe(name)
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
@pytest.mark.parametrize(('name', 'language_rate', 'decay'), [
    ('glipv2_t_pretrain', 1e-5, 1e-4), ('glipv2_b_pretrain', 1e-4, 1e-2), ('glipv2_h_pretrain', 1e-4, 1e-2)])
def test_parameter_groups_are_the_papers(name, language_rate, decay, clip_vocab):
    config = _read(CONFIGS / 'glipv2' / f'{name}.py', clip_vocab)
    assert use_single_precision_where_no_gpu(config) or torch.cuda.is_available()
    model = _on_meta(config)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    settings = {id(parameter): (group['lr'], group['weight_decay'])
                for group in optimizer.param_groups for parameter in group['params']}
    for parameter_name, parameter in model.named_parameters():
        rate = language_rate if parameter_name.startswith('language_model') else 1e-4
        is_bias = 'bias' in parameter_name.split('.')[-1]
        assert settings[id(parameter)] == pytest.approx(
            (2 * rate, 0.0) if is_bias else (rate, decay)), parameter_name
    for schedule in config.param_scheduler:
        PARAM_SCHEDULERS.build(dict(schedule, optimizer=optimizer))


def test_the_encoder_ablation_changes_the_text_side_only():
    clip, bert = (_recipe(name).model for name in ('glipv2_b_pretrain', 'glipv2_b_bert_pretrain'))
    assert bert.language_model.type == 'BertTextEncoder' and bert.fusion.text_layer == 'bert'
    assert clip.backbone == bert.backbone and clip.neck == bert.neck
    for part in ('fusion', 'bbox_head', 'inter_loss', 'mlm_head'):
        different = {key for key in clip[part] if clip[part][key] != bert[part].get(key)}
        assert different <= {'text_channels', 'text_heads', 'text_layer', 'vocab_size'}, part


#: Widths at which B and H take a step in seconds; everything else is the recipe's.
SMALL = {
    'backbone.embed_dim': 16, 'backbone.depths': (1, 1, 2, 1), 'backbone.num_heads': (1, 1, 2, 2),
    'backbone.window_size': 4, 'language_model.config': dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, vocab_size=600),
    'neck.in_channels': [32, 64, 128], 'neck.out_channels': 32, 'fusion.channels': 32, 'fusion.text_channels': 32,
    'fusion.text_heads': 4, 'fusion.attention_channels': 64, 'fusion.num_blocks': 2, 'bbox_head.channels': 32,
    'bbox_head.text_channels': 32, 'inter_loss.channels': 32, 'inter_loss.text_channels': 32,
    'mlm_head.text_channels': 32, 'mlm_head.vocab_size': 600}


@pytest.mark.slow
@pytest.mark.parametrize('mixed_precision', [False, True], ids=['single', 'bfloat16'])
@pytest.mark.parametrize('name', ['glipv2_b_pretrain', 'glipv2_h_pretrain'])
def test_the_larger_scales_step_at_small_width(name, mixed_precision, clip_vocab):
    config = _read(CONFIGS / 'glipv2' / f'{name}.py', clip_vocab)
    config.merge_from_dict({f'model.{key}': value for key, value in SMALL.items()})
    config.model.mlm_head.mask_probability = 1.0
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    model.init_weights()
    sample = _sample(['red cat', 'dog', 'car'], [[20, 30, 100, 120], [60, 60, 90, 100]], [1, 0], (128, 128))

    with torch.autocast('cpu', torch.bfloat16, enabled=mixed_precision):
        losses = model.loss(torch.randn(1, 3, 128, 128), [sample])
    sum(losses.values()).backward()

    assert set(losses) == {'loss_cls', 'loss_bbox', 'loss_centerness', 'loss_inter', 'loss_mlm'}
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    grads = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert [name for name, grad in grads.items() if grad is None or not torch.isfinite(grad).all()] == []


@pytest.mark.slow
def test_b_starts_from_converted_encoders_and_predicts_over_split_class_lists(clip_vocab):
    config = _read(CONFIGS / 'glipv2' / 'glipv2_b_pretrain.py', clip_vocab)
    config.merge_from_dict({f'model.{key}': value for key, value in SMALL.items()})
    config.model.language_model.max_tokens = 12
    config.model.test_cfg.score_thr = 0.0
    torch.manual_seed(0)
    model = MODELS.build(config.model).eval()
    # what tools/model_converters/encoders_to_glipv2.py writes: encoders alone
    encoders = {name: torch.randn_like(value) * 0.1 for name, value in model.state_dict().items()
                if name.startswith(('backbone.model.', 'language_model.'))}
    rest = {name: value.clone() for name, value in model.state_dict().items() if name not in encoders}
    model.load_state_dict(encoders, strict=False)
    assert all(torch.equal(value, (encoders | rest)[name]) for name, value in model.state_dict().items())

    names = ['red cat', 'dog', 'car', 'red dog', 'cat', 'red car']
    sample = DetDataSample(metainfo=dict(
        text=tuple(names), custom_entities=True, img_shape=(96, 128), ori_shape=(96, 128), scale_factor=(1.0, 1.0)))
    with torch.no_grad():
        result = model.predict(torch.randn(1, 3, 96, 128), [sample])[0].pred_instances
    # 12 tokens hold three or four of the names; every one is asked for all the same
    assert set(result.label_names) == set(names)


PROMPT_RECIPES = [path for path in RUNNABLE if '_prompt' in path.stem]


@pytest.mark.parametrize('path', PROMPT_RECIPES, ids=_name)
def test_a_prompt_recipe_watches_one_metric_and_has_glips_rates(path):
    config = Config.fromfile(path)
    watched = {part.monitor for part in (*config.param_scheduler, *config.custom_hooks)}
    assert len(watched) == 1 and len(config.custom_hooks) == 2
    assert (config.optim_wrapper.optimizer.lr, config.optim_wrapper.optimizer.weight_decay) == (0.05, 0.25)
    assert config.load_from is None and config.model.init_cfg.type == 'Pretrained'


@pytest.mark.slow
@pytest.mark.parametrize('path', PROMPT_RECIPES, ids=_name)
def test_a_prompt_recipe_trains_the_prompt_alone(path):
    model = _on_meta(Config.fromfile(path))
    learning = {name: parameter.numel() for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning and all(name.startswith('prompt_tuning.residuals.') for name in learning)
    if 'nano' in path.stem:
        assert sum(learning.values()) < 0.005 * sum(parameter.numel() for parameter in model.parameters())
    if 'lvis' in path.stem:
        assert len(learning) == 31
        assert 'BuildPrompt' not in [step.type for step in Config.fromfile(path).train_dataloader.dataset.pipeline]


@pytest.mark.parametrize(('name', 'names'), [
    ('glipv2_nano_raccoon_prompt', ('raccoon',)),
    ('glipv2_nano_shapes_prompt', (
        'red star', 'green triangle', 'blue circle', 'yellow square', 'purple cross', 'white diamond'))])
def test_nano_prompt_recipes_step(name, names):
    config = Config.fromfile(CONFIGS / 'glipv2' / f'{name}.py')
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    optimizer.update_params(sum(model.loss(
        torch.randn(1, 3, 128, 128), [_sample(names, [[20, 30, 90, 100]], [0], (128, 128))]).values()))
    assert model.prompt_tuning.residuals[0].abs().max().item() == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(('scale', 'rate', 'epochs'), [('t', 1e-5, 24), ('b', 5e-6, 5), ('h', 5e-6, 5)])
def test_fine_tuning_on_coco_has_the_papers_rates(scale, rate, epochs):
    config = _recipe(f'glipv2_{scale}_coco')
    assert (config.optim_wrapper.optimizer.lr, config.train_cfg.max_epochs) == (rate, epochs)
    encoder = config.model.language_model
    step, = (step for step in config.train_dataloader.dataset.pipeline if step.type == 'BuildPrompt')
    assert step.sample is False and step.get('vocab', 'bert-base-uncased') == encoder.vocab


def test_averages_of_the_second_stage_keep_frozen_weights_to_the_last_bit():
    """mmdet's own average of equal numbers is off by a rounding after a few hundred steps."""
    (hook,) = Config.fromfile(CONFIGS / 'glipv2/glipv2_nano_shapes_masks.py').custom_hooks
    frozen = torch.nn.Linear(64, 64)
    average = MODELS.build(dict(type=hook.ema_type, model=frozen, momentum=hook.momentum))
    for _ in range(200):
        average.update_parameters(frozen)
    assert torch.equal(average.module.weight, frozen.weight)
