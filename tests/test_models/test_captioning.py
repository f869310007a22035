"""A detector with a caption head: losses, captions, their words' places, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from glipv2_mmdet.models.detectors import captioning
from glipv2_mmdet.models.detectors.captioning import CaptionSteps
from glipv2_mmdet.models.task_heads.decoding import SearchSettings, beam_search
from glipv2_mmdet.structures import PredictedCaption
from glipv2_mmdet.text import Phrase, Prompt, PromptError, find_noun_phrases
from tests.reference.caption_steps import RecomputedSteps
from tests.test_models.nano import MASK_HEAD, TEXT_CHANNELS, build_detector, data_sample
from tests.tiny_clip import VOCAB_SIZE, write_folder

HEAD = dict(type='CaptionHead', text_channels=TEXT_CHANNELS, vocab_size=30522)
GROUNDING = ['loss_bbox', 'loss_centerness', 'loss_cls']


def build(parts: dict | None = None, **caption):
    """Words that are told apart: with start values every word would get the same score."""
    detector = build_detector({'caption_head': HEAD, **(parts or {})}, caption=dict(max_words=6, **caption))
    torch.manual_seed(1)
    for part in (detector.language_model, detector.fusion, detector.caption_head):
        for name, parameter in part.named_parameters():
            if 'norm' not in name.lower() and parameter.dim() > 1 and 'conv' not in name:
                torch.nn.init.normal_(parameter, std=0.3)
    return detector


@pytest.fixture(scope='module')
def detector():
    return build(beam_size=3)


@pytest.fixture(scope='module')
def clip_detector(tmp_path_factory):
    vocab = write_folder(tmp_path_factory.mktemp('clip') / 'vocabulary')
    config = dict(
        hidden_size=TEXT_CHANNELS,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        vocab_size=VOCAB_SIZE + 5,
    )
    return build(
        dict(
            language_model=dict(type='CLIPTextEncoder', vocab=vocab, config=config),
            caption_head={**HEAD, 'vocab_size': VOCAB_SIZE + 5},
        )
    )


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(2, 3, 64, 64)


def caption(text: str, *spans: tuple[int, int]) -> Prompt:
    return Prompt(text, tuple(Phrase(text[start:end], ((start, end),)) for start, end in spans), is_detection=False)


def training_samples() -> list:
    return [
        data_sample(prompt=caption('a red cat on a mat.', (0, 9)), boxes=[[4, 6, 50, 58]], labels=[0]),
        data_sample(prompt=caption('two dogs')),
    ]


def test_one_pass_gives_the_caption_and_the_grounding_losses(images, monkeypatch):
    detector = build().train()
    passes = []
    encode_image = detector.fusion.encode_image
    monkeypatch.setattr(
        detector.fusion,
        'encode_image',
        lambda levels, **kwargs: passes.append(kwargs) or encode_image(levels, **kwargs),
    )
    losses = detector.loss(images, training_samples())
    assert passes == [dict(final_levels=True)]
    assert sorted(losses) == sorted([*GROUNDING, 'loss_caption'])
    assert all(math.isfinite(loss.item()) and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    trainable = [name for name, parameter in detector.named_parameters() if parameter.requires_grad]
    grads = dict(detector.named_parameters())
    assert [name for name in trainable if grads[name].grad is None] == []
    frozen = {name.split('.')[4] for name, parameter in detector.named_parameters() if not parameter.requires_grad}
    assert frozen == {'text_value', 'image_out', 'gamma_image'}


def test_with_the_box_head_frozen_only_words_learn(images, monkeypatch):
    detector = build(dict(frozen_parts=('bbox_head',))).train()
    monkeypatch.setattr(detector.bbox_head, 'forward', lambda *_: pytest.fail('nobody needs regions'))
    monkeypatch.setattr(detector.fusion.blocks[-1]['dynamic_conv'], 'forward', lambda *_: pytest.fail('nor levels'))
    losses = detector.loss(images, training_samples())
    assert sorted(losses) == ['loss_caption']
    losses['loss_caption'].backward()
    # distributed training waits for each of these
    assert [
        name for name, parameter in detector.named_parameters() if parameter.requires_grad and parameter.grad is None
    ] == []


def test_losses_are_those_of_the_parts(detector, images):
    samples = training_samples()
    with torch.no_grad():
        losses = detector.loss(images, samples)
        prompts = [sample.prompt for sample in samples]
        tokenized = [detector.language_model.tokenizer(prompt) for prompt in prompts]
        text = detector.language_model.encode(prompts, causal=True)
        fused = detector.fusion(detector.extract_feat(images), text)
        expected = detector.caption_head.loss(
            fused.words, tokenized, detector.language_model.tokenizer, detector.language_model.word_embeddings
        )
    torch.testing.assert_close(losses['loss_caption'], expected)


def test_captions_without_phrases_teach_nothing_about_regions(images):
    detector = build().train()
    losses = detector.loss(images[:1], training_samples()[1:])
    assert losses['loss_caption'] > 0
    assert [losses[name].item() for name in GROUNDING] == [0, 0, 0]
    # beside a caption with boxes they count as an image without any: one more positive anchor, here beside six
    detector.eval()
    both = detector.loss(images, training_samples())
    alone = detector.loss(images[:1], training_samples()[:1])
    weights = [(both[name] / alone[name]).item() for name in ('loss_cls', 'loss_centerness')]
    assert weights == pytest.approx([6 / 7] * 2, rel=1e-4)


@torch.no_grad()
def test_image_features_do_not_depend_on_the_text(detector, images):
    levels = detector.extract_feat(images)
    fused = [
        detector.fusion(levels, detector.language_model.encode([caption(text)] * 2, causal=True))
        for text in ('a red cat', 'many blue dogs on a table')
    ]
    assert all(torch.equal(a, b) for a, b in zip(fused[0].levels, fused[1].levels, strict=True))


def search(detector, images, steps_of, beam_size: int):
    levels = detector.extract_feat(images)
    steps = steps_of(levels)
    tokenizer = detector.language_model.tokenizer
    settings = SearchSettings(beam_size=beam_size, max_words=8)
    return beam_search(steps, len(images), tokenizer.start_id, tokenizer.end_id, settings)


@pytest.mark.parametrize('kind', ['bert', 'clip'])
@pytest.mark.parametrize('beam_size', [1, 3])
@torch.no_grad()
def test_word_by_word_writes_what_recomputing_everything_writes(kind, beam_size, detector, clip_detector, images):
    model = detector if kind == 'bert' else clip_detector
    kept = search(model, images, lambda levels: CaptionSteps(model, model.fusion.encode_image(levels)), beam_size)
    again = search(model, images, lambda levels: RecomputedSteps(model, levels), beam_size)
    assert [result.tokens for result in kept] == [result.tokens for result in again]
    assert [result.score for result in kept] == pytest.approx([result.score for result in again], abs=1e-5)
    assert len({token for result in kept for token in result.tokens}) > 2


@pytest.mark.parametrize('kind', ['bert', 'clip'])
@torch.no_grad()
def test_scores_of_every_step_are_those_of_the_whole_text(kind, detector, clip_detector, images):
    model = detector if kind == 'bert' else clip_detector
    levels = model.extract_feat(images)
    kept = CaptionSteps(model, model.fusion.encode_image(levels))
    again = RecomputedSteps(model, levels)
    tokens, parents = torch.full((2,), model.language_model.tokenizer.start_id), torch.arange(2)
    # each image branches into two texts, then the second of each goes on twice, as beams do
    for parents_next in (torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 3, 3]), torch.tensor([0, 1, 2, 3]), None):
        got, want = kept(tokens, parents), again(tokens, parents)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
        if parents_next is not None:
            parents = parents_next
            tokens = want[parents].topk(2).indices[torch.arange(4), torch.tensor([0, 1, 0, 1])]


@torch.no_grad()
def test_special_tokens_are_never_written(clip_detector, detector, images):
    for model in (clip_detector, detector):
        scores = CaptionSteps(model, model.fusion.encode_image(model.extract_feat(images)))(
            torch.full((2,), model.language_model.tokenizer.start_id), torch.arange(2)
        )
        tokenizer = model.language_model.tokenizer
        forbidden = (scores[0] == -math.inf).nonzero().flatten().tolist()
        assert forbidden == [*tokenizer.unwritten_ids, *range(tokenizer.vocab_size, scores.shape[1])]
        assert tokenizer.end_id not in forbidden and tokenizer.start_id in forbidden
    names = detector.language_model.tokenizer.tokenizer.convert_ids_to_tokens(
        detector.language_model.tokenizer.unwritten_ids
    )
    assert {'[PAD]', '[UNK]', '[CLS]', '[MASK]', '[unused0]', '[unused993]'} <= set(names)
    assert len(names) == 4 + 994


@torch.no_grad()
def test_image_without_text_gets_a_caption_and_its_boxes(detector, images, monkeypatch):
    # a random model writes no nouns that a chunker knows
    monkeypatch.setattr(detector.language_model.tokenizer, 'decode', lambda tokens: 'a red cat, and a dog.')
    first, second = detector.predict(images, [data_sample(), data_sample()])
    for sample in (first, second):
        written = sample.pred_caption
        assert isinstance(written, PredictedCaption) and written.text == 'a red cat, and a dog.'
        assert written.words == ('a', 'red', 'cat', 'and', 'a', 'dog')
        assert (
            [phrase.name for phrase in written.phrases]
            == [name for name, _ in find_noun_phrases(written.text)]
            == ['a red cat', 'a dog']
        )
        boxes = sample.pred_instances
        assert set(boxes.labels.tolist()) == {0, 1}
        assert boxes.label_names == [written.phrases[label].name for label in boxes.labels.tolist()]
        assert written.word_boxes.shape == (6, 4) and written.word_scores.shape == (6,)
        assert written.score < 0
    assert not torch.equal(first.pred_caption.word_boxes, second.pred_caption.word_boxes)


@torch.no_grad()
def test_boxes_of_a_written_caption_are_those_of_the_same_caption_given(detector, images, monkeypatch):
    text = 'a red cat and a dog'
    monkeypatch.setattr(detector.language_model.tokenizer, 'decode', lambda tokens: text)
    (written,) = detector.predict(images[:1], [data_sample()])
    (given,) = detector.predict(images[:1], [data_sample(text)])
    assert 'pred_caption' not in given
    torch.testing.assert_close(written.pred_instances.bboxes, given.pred_instances.bboxes)
    assert written.pred_instances.label_names == given.pred_instances.label_names


@torch.no_grad()
def test_a_batch_may_mix_images_with_and_without_text(detector, images):
    mixed = detector.predict(images, [data_sample('a red cat'), data_sample()])
    (told,), (untold,) = (
        detector.predict(images[i : i + 1], [data_sample(text)]) for i, text in enumerate(('a red cat', None))
    )
    torch.testing.assert_close(mixed[0].pred_instances.scores, told.pred_instances.scores, rtol=0, atol=1e-4)
    assert mixed[1].pred_caption.text == untold.pred_caption.text
    assert mixed[1].pred_caption.score == pytest.approx(untold.pred_caption.score, abs=1e-5)


@torch.no_grad()
def test_text_is_given_left_to_right(detector, images):
    """The score of the first word's box does not depend on what follows."""

    def score(text):
        (sample,) = detector.predict(images[:1], [data_sample(text, tokens_positive=[[[0, 3]]])])
        return sample.pred_instances.scores

    torch.testing.assert_close(score('cat on a mat.'), score('cat in the sky, red.'))


@torch.no_grad()
def test_each_word_takes_the_region_with_its_highest_logit(detector, images, monkeypatch):
    monkeypatch.setattr(detector.language_model.tokenizer, 'decode', lambda tokens: 'a cat')
    sample = data_sample(height=48, width=40)
    sample.set_metainfo(dict(scale_factor=(2.0, 4.0)))
    (sample,) = detector.predict(images[:1], [sample])
    text = detector.language_model.encode([caption('a cat')], causal=True)
    outputs = detector.bbox_head(detector.fusion(detector.extract_feat(images[:1]), text))
    anchors = detector.bbox_head.anchors(outputs)
    inside = ((anchors[:, 0] + anchors[:, 2]) / 2 < 40) & ((anchors[:, 1] + anchors[:, 3]) / 2 < 48)
    logits = outputs.word_logits[0].masked_fill(~inside[:, None], -math.inf)
    best = logits[:, [1, 2]].argmax(dim=0)
    torch.testing.assert_close(
        sample.pred_caption.word_scores, outputs.word_logits[0, best, torch.tensor([1, 2])].sigmoid()
    )
    boxes = detector.bbox_head.bbox_coder.decode(anchors[best], outputs.box_deltas[0, best], max_shape=(48, 40))
    expected = boxes / torch.tensor([2, 4, 2, 4]) + torch.tensor([0, 0, 1, 1])
    torch.testing.assert_close(sample.pred_caption.word_boxes, expected)


@pytest.mark.parametrize('parts', [dict(), dict(frozen_parts=('bbox_head',))])
@torch.no_grad()
def test_without_grounding_nothing_is_looked_for(parts, images, monkeypatch):
    settings = {} if parts else dict(grounded=False)
    detector = build(parts, **settings)
    monkeypatch.setattr(detector.bbox_head, 'forward', lambda *_: pytest.fail('captions are not grounded'))
    (sample,) = detector.predict(images[:1], [data_sample()])
    assert sample.pred_caption.text and 'pred_instances' not in sample
    assert sample.pred_caption.word_boxes is None and sample.pred_caption.phrases == ()


@pytest.mark.parametrize('text', ['...', '! ?'])
@torch.no_grad()
def test_a_caption_without_words_finds_nothing(detector, images, text, monkeypatch):
    texts = iter([text, 'a dog'])
    monkeypatch.setattr(detector.language_model.tokenizer, 'decode', lambda tokens: next(texts))
    nothing, dog = detector.predict(images, [data_sample(), data_sample()])
    assert nothing.pred_caption.words == () and len(nothing.pred_instances) == 0
    assert set(dog.pred_instances.label_names) == {'a dog'}


@torch.no_grad()
def test_a_caption_without_noun_phrases_finds_words_alone(detector, images, monkeypatch):
    monkeypatch.setattr(captioning, 'find_noun_phrases', lambda text: [])
    (sample,) = detector.predict(images[:1], [data_sample()])
    assert len(sample.pred_instances) == 0 and sample.pred_instances.label_names == []
    assert len(sample.pred_caption.word_boxes) == len(sample.pred_caption.words)


@torch.no_grad()
def test_masks_of_phrases_come_with_a_mask_head(images, monkeypatch):
    detector = build(dict(mask_head=MASK_HEAD))
    monkeypatch.setattr(detector.language_model.tokenizer, 'decode', lambda tokens: 'a cat')
    (sample,) = detector.predict(images[:1], [data_sample()])
    assert sample.pred_instances.masks.shape == (len(sample.pred_instances), 64, 64)


@torch.no_grad()
def test_settings_reach_the_search(images):
    lengths = {}
    for max_words in (1, 4):
        detector = build(grounded=False, beam_size=1)
        detector.test_cfg.caption.max_words = max_words
        tokenizer = detector.language_model.tokenizer
        written = []
        decode = tokenizer.decode
        tokenizer.decode = lambda tokens, written=written, decode=decode: written.append(len(tokens)) or decode(tokens)
        detector.predict(images[:1], [data_sample()])
        lengths[max_words] = written
    assert lengths == {1: [1], 4: [4]}


@pytest.mark.parametrize(
    ('caption_cfg', 'message'),
    [
        (dict(beam=3), r"test_cfg.caption has 'max_words', 'beam'. Expected beam_size, max_words"),
        (dict(beam_size=0), 'beam_size is 0. Expected at least 1'),
    ],
)
def test_wrong_settings_are_named_when_the_model_is_built(caption_cfg, message):
    with pytest.raises(ValueError, match=message):
        build(**caption_cfg)


def test_captions_must_fit_the_text_encoder():
    with pytest.raises(ValueError, match='max_words is 255, the text encoder reads 254 tokens between start and end'):
        build_detector(dict(caption_head=HEAD), caption=dict(max_words=255))


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        (dict(mlm_head=dict(type='MLMHead', text_channels=TEXT_CHANNELS)), 'has both caption_head and mlm_head'),
        (
            dict(fusion=dict(type='VLFusionDyHead', early_fusion=False, num_blocks=1, channels=16, num_groups=4)),
            'early_fusion=False, where words never see the image',
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        build_detector(dict(caption_head=HEAD, **parts))


def test_training_image_without_a_caption_is_named(detector, images):
    with pytest.raises(PromptError, match=r'Image "photo\.jpg" has no caption to learn from. Expected a Prompt'):
        detector.loss(images[:1], [data_sample('cat')])
