"""Models and vocabularies of the benchmarks: nothing is downloaded, prompts have as many tokens as real ones."""

from __future__ import annotations

import pytest
import torch

from benchmarks.random_models import CAPTION, CAPTION_SPANS, CLASSES, random_images, read_model, training_sample
from benchmarks.word_vocabulary import write_vocabulary
from glipv2_mmdet.text import PromptTokenizer, prompt_from_caption, prompt_from_classes

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory) -> PromptTokenizer:
    words = [*' '.join(CLASSES).split(), *CAPTION.split()]
    return PromptTokenizer(write_vocabulary(tmp_path_factory.mktemp('vocabulary'), words))


def test_every_word_is_one_token(tokenizer):
    tokens = tokenizer(prompt_from_caption(CAPTION, CAPTION_SPANS))
    assert [len(phrase) for phrase in tokens.phrase_tokens] == [3, 2, 1]
    tokens = tokenizer(prompt_from_classes(CLASSES))
    assert [len(phrase) for phrase in tokens.phrase_tokens] == [len(name.split()) for name in CLASSES]
    assert not tokens.is_cut


def test_the_vocabulary_has_all_that_training_needs(tokenizer):
    assert tokenizer.mask_id is not None
    assert None not in (tokenizer.start_id, tokenizer.end_id)
    assert tokenizer.vocab_size < 49408


def test_caption_and_classes_are_what_the_docs_say():
    assert len(CAPTION.split()) == 8 and len(CLASSES) == 80
    assert [CAPTION[start:end] for ((start, end),) in CAPTION_SPANS] == ['a brown dog', 'two cats', 'trees']


def test_images_are_padded_as_the_preprocessor_does():
    assert random_images(1, 800, 1333, CPU).shape == (1, 3, 800, 1344)


def test_boxes_lie_in_the_image_and_have_classes():
    sample = training_sample(60, 90, CPU, num_boxes=50)
    boxes, labels = sample.gt_instances.bboxes, sample.gt_instances.labels
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.min() >= 0 and (boxes.max(dim=0).values <= torch.tensor([90, 60, 90, 60])).all()
    assert 0 <= labels.min() and labels.max() < 80


@pytest.mark.parametrize(
    ('scale', 'losses'),
    [
        ('nano', {'inter_loss', 'mlm_head'}),
        ('t', {'inter_loss', 'mlm_head'}),
        ('b', {'inter_loss', 'mlm_head'}),
        ('h', {'inter_loss', 'mlm_head'}),
    ],
)
def test_training_has_all_losses_and_inference_none(scale, losses):
    assert losses <= set(read_model(scale, training=True))
    assert not losses & set(read_model(scale))
