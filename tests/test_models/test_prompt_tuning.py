"""Prompt tuning: what learns, what stays, how often the encoder runs, and which prompts fit which weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from glipv2_mmdet.models import PromptTuning, TunedPrompt, TunedPromptError, base_fingerprint
from glipv2_mmdet.text import PromptTokenizer, prompt_from_classes
from tests.test_models.nano import MASK_HEAD, TEXT_CHANNELS, build_detector, data_sample

NAMES = ('cat', 'red car')
TUNING = dict(type='PromptTuning', classes=NAMES)
#: A class list of three prompts.
MANY = tuple(f'{colour} {thing}' for colour in ('red', 'old') for thing in ('cat', 'car', 'tree', 'dog', 'hat'))[:7]


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(2, 3, 64, 64)


def build(tuning: dict | None = TUNING, **parts):
    return build_detector(dict(prompt_tuning=tuning, **parts) if tuning else parts, chunked_size=3)


def samples(names=NAMES) -> list:
    return [
        data_sample(names, boxes=[[4, 6, 50, 58]], labels=[1]),
        data_sample(names, boxes=[[10, 10, 40, 30], [2, 2, 60, 60]], labels=[0, 0]),
    ]


def train(detector, images, make_samples=samples, steps: int = 6, lr: float = 0.05) -> list[float]:
    detector.train()
    learning = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=lr, weight_decay=0.25)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = sum(detector.loss(images, make_samples()).values())
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    detector.eval()
    return losses


def count_encodings(detector, monkeypatch) -> list[int]:
    calls = []
    forward = detector.language_model.forward
    monkeypatch.setattr(
        detector.language_model,
        'forward',
        lambda tokens, **how: calls.append(len(tokens.lengths)) or forward(tokens, **how),
    )
    return calls


@torch.no_grad()
def scores(detector, image, sample) -> torch.Tensor:
    return detector.predict(image, [sample])[0].pred_instances.scores


def test_a_fresh_residual_changes_nothing(images):
    plain, tuned = build(None), build()
    tuned.load_state_dict(plain.state_dict(), strict=False)
    for a, b in zip(plain.loss(images, samples()).values(), tuned.loss(images, samples()).values(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(scores(plain, images[:1], data_sample(NAMES)), scores(tuned, images[:1], data_sample(NAMES)))


def test_the_prompt_alone_learns_and_the_base_keeps_its_bits(images):
    detector = build()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    losses = train(detector, images)
    assert losses[-1] < losses[0]
    changed = {name for name, value in detector.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {'prompt_tuning.residuals.0'}
    # [CLS] cat . red car [SEP]
    assert [tuple(p.shape) for p in detector.parameters() if p.requires_grad] == [(6, TEXT_CHANNELS)]


def test_frozen_parts_stay_in_eval_mode():
    detector = build().train()
    assert not any(
        part.training for name, part in detector.named_children() if name not in ('prompt_tuning', 'data_preprocessor')
    )


def test_the_prompt_is_encoded_once_for_the_run(images, monkeypatch):
    detector = build()
    calls = count_encodings(detector, monkeypatch)
    train(detector, images, steps=3)
    scores(detector, images[:1], data_sample())
    assert calls == [1]
    # new base weights are encoded anew
    detector.load_state_dict(detector.state_dict())
    scores(detector, images[:1], data_sample())
    assert calls == [1, 1]


def test_the_residual_reaches_both_fusion_and_matching():
    detector = build()
    with torch.no_grad():
        detector.prompt_tuning.residuals[0].copy_(torch.arange(6.0)[:, None].expand(-1, TEXT_CHANNELS))
    prompts = [prompt_from_classes(NAMES)]
    plain = detector.language_model.encode(prompts)
    tuned = detector.prompt_tuning.encode(detector.language_model, prompts)
    for field in ('hidden', 'embedded'):
        torch.testing.assert_close(
            (getattr(tuned, field) - getattr(plain, field))[0], torch.arange(6.0)[:, None].expand(-1, TEXT_CHANNELS)
        )


def test_masks_teach_the_prompt_too(images):
    detector = build(mask_head=MASK_HEAD)

    def with_masks():
        made = samples()
        for sample in made:
            boxes = sample.gt_instances
            boxes.masks = BitmapMasks([(torch.rand(64, 64) > 0.5).byte().numpy() for _ in range(len(boxes))], 64, 64)
        return made

    losses = detector.train().loss(images, with_masks())
    losses['loss_mask'].backward()
    assert detector.prompt_tuning.residuals[0].grad.abs().sum() > 0
    assert all(p.grad is None for name, p in detector.named_parameters() if not name.startswith('prompt_tuning'))


def test_a_long_class_list_has_a_residual_per_chunk_and_each_learns(images):
    torch.manual_seed(0)
    detector = build(dict(type='PromptTuning', classes=MANY))
    assert len(detector.prompt_tuning.residuals) == 3
    train(detector, images, lambda: samples(MANY), steps=12)
    assert all(residual.abs().sum() > 0 for residual in detector.prompt_tuning.residuals)
    with torch.no_grad():
        found = detector.predict(images[:1], [data_sample()])[0].pred_instances
    assert set(found.label_names) == set(MANY)


def test_a_training_image_keeps_the_boxes_its_chunk_can_name():
    tuning = PromptTuning(PromptTokenizer(), TEXT_CHANNELS, MANY, chunked_size=3)
    torch.manual_seed(0)
    seen = set()
    for _ in range(40):
        sample = data_sample(MANY, boxes=[[0, 0, 9, 9], [1, 1, 8, 8], [2, 2, 7, 7]], labels=[1, 5, 3])
        shown = tuning.training_sample(sample)
        names = shown.prompt.names
        seen.add(names)
        kept = {
            names[label]: box[0]
            for label, box in zip(shown.gt_instances.labels.tolist(), shown.gt_instances.bboxes.tolist(), strict=True)
        }
        assert kept == {
            name: place for name, place in ((MANY[1], 0.0), (MANY[5], 1.0), (MANY[3], 2.0)) if name in names
        }
        assert sample.gt_instances.labels.tolist() == [1, 5, 3]
    assert seen == {MANY[:3], MANY[3:6], MANY[6:]}


def test_positional_residuals_count_tokens_of_prompts_that_differ(images):
    detector = build(dict(type='PromptTuning'))
    assert detector.prompt_tuning.residuals[0].shape == (256, TEXT_CHANNELS)

    def phrases():
        return [
            data_sample('the old car', tokens_positive=[[[0, 11]]], boxes=[[4, 6, 50, 58]], labels=[0]),
            data_sample('a red and a white dog', tokens_positive=-1, boxes=[[4, 6, 50, 58]], labels=[0]),
        ]

    losses = train(detector, images, phrases)
    assert losses[-1] < losses[0]
    moved = detector.prompt_tuning.residuals[0].abs().sum(1) > 0
    # [CLS] a red and a white dog . [SEP] has 9 tokens; longer prompts were not seen
    assert moved.tolist() == [True] * 9 + [False] * 247


def test_a_saved_prompt_loads_to_the_same_detections(images, tmp_path):
    detector = build()
    train(detector, images)
    expected = scores(detector, images[:1], data_sample(NAMES))
    detector.prompt_tuning.tuned(base_fingerprint(detector), 'base.pth').save(tmp_path / 'task.safetensors')
    assert (tmp_path / 'task.safetensors').stat().st_size < 5000

    other = build(None)
    zero_shot = scores(other, images[:1], data_sample(NAMES))
    other.set_prompt(tmp_path / 'task.safetensors')
    found = other.predict(images[:1], [data_sample()])[0].pred_instances
    assert torch.equal(found.scores, expected) and not torch.equal(expected, zero_shot)
    assert set(found.label_names) <= set(NAMES)
    assert torch.equal(scores(other, images[:1], data_sample(NAMES)), expected)
    other.set_prompt(None)
    assert torch.equal(scores(other, images[:1], data_sample(NAMES)), zero_shot)
    # by config, and for one image of a batch
    by_config = build(None, tuned_prompt=str(tmp_path / 'task.safetensors'))
    assert torch.equal(scores(by_config, images[:1], data_sample()), expected)
    with torch.no_grad():
        mixed = other.predict(
            images[[0, 0]], [data_sample(tuned_prompt=str(tmp_path / 'task.safetensors')), data_sample(('dog',))]
        )
    torch.testing.assert_close(mixed[0].pred_instances.scores, expected)
    assert set(mixed[1].pred_instances.label_names) == {'dog'}


def tuned_prompt(detector, names=NAMES, **changes) -> TunedPrompt:
    tuning = PromptTuning(PromptTokenizer(), TEXT_CHANNELS, names)
    return replace(tuning.tuned(base_fingerprint(detector), 'base.pth'), **changes)


def test_switching_between_prompts_encodes_each_once(images, monkeypatch):
    detector = build(None)
    prompts = [tuned_prompt(detector, names) for names in (('cat',), ('dog', 'tree'))]
    calls = count_encodings(detector, monkeypatch)
    for prompt in prompts * 3:
        detector.set_prompt(prompt)
        scores(detector, images[:1], data_sample())
    assert len(calls) == 2


def test_other_base_weights_are_refused(images):
    detector = build(None)
    detector.set_prompt(tuned_prompt(detector))
    scores(detector, images[:1], data_sample())
    with torch.no_grad():
        detector.neck.fpn_convs[0].conv.weight[0, 0, 0, 0] += 1e-6
    detector.load_state_dict(detector.state_dict())
    refusal = r'was tuned on other weights: on those of "base\.pth" with fingerprint'
    with pytest.raises(TunedPromptError, match=refusal):
        scores(detector, images[:1], data_sample())
    with pytest.raises(TunedPromptError, match=refusal):
        detector.set_prompt(detector.tuned_prompt)


def test_a_refused_prompt_leaves_the_one_that_was_set(images):
    detector = build(None)
    own = tuned_prompt(detector)
    detector.set_prompt(own)
    with pytest.raises(TunedPromptError, match='was tuned on other weights'):
        detector.set_prompt(replace(own, fingerprint='0' * 16))
    assert detector.tuned_prompt is own


def test_the_fingerprint_is_computed_once_for_many_prompts_and_again_after_a_step(monkeypatch):
    calls = []
    monkeypatch.setattr(
        'glipv2_mmdet.models.prompt_tuning.base_fingerprint',
        lambda model: calls.append(model) or base_fingerprint(model),
    )
    detector = build(None)
    prompts = [tuned_prompt(detector, names) for names in (('cat',), ('dog',), ('tree',))]
    for prompt in prompts:
        detector.set_prompt(prompt)
    assert len(calls) == 1
    with torch.no_grad():
        detector.bbox_head.box.bias += 1
    with pytest.raises(TunedPromptError, match='was tuned on other weights'):
        detector.set_prompt(replace(prompts[0]))
    assert len(calls) == 2


def test_another_class_list_is_refused_by_name(images):
    detector = build(None)
    detector.set_prompt(tuned_prompt(detector))
    with pytest.raises(TunedPromptError, match="only asked for: 'dog'; only tuned: 'red car'"):
        scores(detector, images[:1], data_sample(('cat', 'dog')))
    with pytest.raises(TunedPromptError, match='in another order'):
        scores(detector, images[:1], data_sample(NAMES[::-1]))
    with pytest.raises(TunedPromptError, match="only asked for: 'bird'"):
        build().loss(images[:1], [data_sample((*NAMES, 'bird'))])


def test_other_tokens_are_refused():
    detector = build(None)
    with pytest.raises(TunedPromptError, match='Use the vocabulary and the width'):
        detector.set_prompt(tuned_prompt(detector, token_ids=((101, 7, 102),)))


def test_overrides_are_part_of_the_prompt(tmp_path):
    tuning = PromptTuning(PromptTokenizer(), TEXT_CHANNELS, ('CoW',), {'CoW': {'name': 'flat mushroom'}})
    tuning.tuned('0' * 16, 'base.pth').save(tmp_path / 'cow.safetensors')
    loaded = TunedPrompt.load(tmp_path / 'cow.safetensors')
    again = PromptTuning.from_tuned(loaded, PromptTokenizer(), TEXT_CHANNELS)
    assert again.prompt.text == 'flat mushroom' and again.prompt.names == ('CoW',)
    assert loaded is TunedPrompt.load(tmp_path / 'cow.safetensors')


@pytest.mark.parametrize('content', [b'no safetensors', b''])
def test_a_file_that_is_no_prompt_is_named(tmp_path, content):
    (tmp_path / 'x.safetensors').write_bytes(content)
    with pytest.raises(TunedPromptError, match=r'x\.safetensors" is no safetensors file'):
        TunedPrompt.load(tmp_path / 'x.safetensors')


def test_weights_of_something_else_are_no_prompt(tmp_path):
    from safetensors.torch import save_file

    save_file({'a': torch.ones(1)}, tmp_path / 'x.safetensors')
    with pytest.raises(TunedPromptError, match='has the format None; expected "glipv2_mmdet tuned prompt, version 1"'):
        TunedPrompt.load(tmp_path / 'x.safetensors')
    with pytest.raises(FileNotFoundError, match='There is no tuned prompt'):
        build(None, tuned_prompt=str(tmp_path / 'none.safetensors'))


def test_the_fingerprint_is_that_of_the_base_alone():
    detector = build(None)
    first = base_fingerprint(detector)
    with_more = build(mask_head=MASK_HEAD)
    with_more.load_state_dict(detector.state_dict(), strict=False)
    assert first == base_fingerprint(with_more) and len(first) == 16
    with torch.no_grad():
        detector.bbox_head.box.bias[0] += 1
    assert base_fingerprint(detector) != first


def test_losses_with_layers_of_their_own_are_refused():
    with pytest.raises(ValueError, match='prompt_tuning was given with mlm_head'):
        build(mlm_head=dict(type='MLMHead', text_channels=TEXT_CHANNELS))


def test_classes_can_be_those_of_a_registered_data_set():
    tuning = PromptTuning(PromptTokenizer(), 8, 'CocoDataset')
    assert len(tuning.prompt.names) == 80 and len(tuning.chunks) == 1
    with pytest.raises(ValueError, match='classes is "cat"'):
        PromptTuning(PromptTokenizer(), 8, 'cat')
    with pytest.raises(ValueError, match='overrides were given without classes'):
        PromptTuning(PromptTokenizer(), 8, overrides={'cat': {'name': 'dog'}})


def test_an_image_without_boxes_is_shown_a_chunk():
    tuning = PromptTuning(PromptTokenizer(), TEXT_CHANNELS, MANY, chunked_size=3)
    empty = DetDataSample(
        metainfo=dict(text=MANY),
        gt_instances=InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)),
    )
    assert len(tuning.training_sample(empty).gt_instances) == 0
