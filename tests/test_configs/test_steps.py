"""Models of the large scales take a step: T at full width, B and H at small width."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample

from tests.test_configs.reading import make_sample, read_recipe


@pytest.mark.slow
def test_glipv2_t_pretrain_steps_at_full_width():
    """The published widths on one 224 px image: a finite loss, and a gradient for every trainable parameter."""
    config = read_recipe('glipv2_t_pretrain')
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    boxes = [[20, 30, 150, 200], [60, 60, 90, 100]]
    sample = make_sample(['traffic light', 'person', 'cat'], boxes, [1, 0], (224, 224))

    losses = model.loss(torch.randn(1, 3, 224, 224), [sample])
    total = sum(losses.values())
    total.backward()

    assert torch.isfinite(total)
    trainable = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert [name for name, grad in trainable.items() if grad is None or not torch.isfinite(grad).all()] == []


#: Widths at which B and H take a step in seconds; everything else is the recipe's.
SMALL = {
    'backbone.pretrained': None,
    'language_model.pretrained': None,
    'backbone.embed_dim': 16,
    'backbone.depths': (1, 1, 2, 1),
    'backbone.num_heads': (1, 1, 2, 2),
    'backbone.window_size': 4,
    'language_model.config': dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, vocab_size=600
    ),
    'neck.in_channels': [32, 64, 128],
    'neck.out_channels': 32,
    'fusion.channels': 32,
    'fusion.text_channels': 32,
    'fusion.text_heads': 4,
    'fusion.attention_channels': 64,
    'fusion.num_blocks': 2,
    'bbox_head.channels': 32,
    'bbox_head.text_channels': 32,
    'inter_loss.channels': 32,
    'inter_loss.text_channels': 32,
    'mlm_head.text_channels': 32,
    'mlm_head.vocab_size': 600,
}


@pytest.mark.slow
@pytest.mark.parametrize('mixed_precision', [False, True], ids=['single', 'bfloat16'])
@pytest.mark.parametrize('name', ['glipv2_b_pretrain', 'glipv2_h_pretrain'])
def test_the_larger_scales_step_at_small_width(name, mixed_precision, clip_vocab):
    config = read_recipe(name, clip_vocab)
    config.merge_from_dict({f'model.{key}': value for key, value in SMALL.items()})
    config.model.mlm_head.mask_probability = 1.0
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    model.init_weights()
    sample = make_sample(['red cat', 'dog', 'car'], [[20, 30, 100, 120], [60, 60, 90, 100]], [1, 0], (128, 128))

    with torch.autocast('cpu', torch.bfloat16, enabled=mixed_precision):
        losses = model.loss(torch.randn(1, 3, 128, 128), [sample])
    sum(losses.values()).backward()

    assert set(losses) == {'loss_cls', 'loss_bbox', 'loss_centerness', 'loss_inter', 'loss_mlm'}
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    grads = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert [name for name, grad in grads.items() if grad is None or not torch.isfinite(grad).all()] == []


@pytest.mark.slow
def test_b_starts_from_converted_encoders_and_predicts_over_split_class_lists(clip_vocab):
    config = read_recipe('glipv2_b_pretrain', clip_vocab)
    config.merge_from_dict({f'model.{key}': value for key, value in SMALL.items()})
    config.model.language_model.max_tokens = 12
    config.model.test_cfg.score_thr = 0.0
    torch.manual_seed(0)
    model = MODELS.build(config.model).eval()
    # what tools/model_converters/encoders_to_glipv2.py writes: encoders alone
    encoders = {
        name: torch.randn_like(value) * 0.1
        for name, value in model.state_dict().items()
        if name.startswith(('backbone.model.', 'language_model.'))
    }
    rest = {name: value.clone() for name, value in model.state_dict().items() if name not in encoders}
    model.load_state_dict(encoders, strict=False)
    assert all(torch.equal(value, (encoders | rest)[name]) for name, value in model.state_dict().items())

    names = ['red cat', 'dog', 'car', 'red dog', 'cat', 'red car']
    sample = DetDataSample(
        metainfo=dict(
            text=tuple(names), custom_entities=True, img_shape=(96, 128), ori_shape=(96, 128), scale_factor=(1.0, 1.0)
        )
    )
    with torch.no_grad():
        result = model.predict(torch.randn(1, 3, 96, 128), [sample])[0].pred_instances
    # 12 tokens hold three or four of the names; every one is asked for all the same
    assert set(result.label_names) == set(names)
