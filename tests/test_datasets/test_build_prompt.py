"""Class names and captions become prompts, and labels follow their words."""

import pickle

import numpy as np
import pytest
from mmdet.structures.mask import BitmapMasks

from glipv2_mmdet.datasets.transforms import BuildPrompt
from glipv2_mmdet.text import PromptError

NAMES = ('red circle', 'blue square', 'green star', 'white cross')


def _results(text, labels=(), **extra):
    labels = np.array(labels, dtype=np.int64)
    count = len(labels)
    return {
        'img_path': 'dir/a.jpg',
        'text': text,
        'gt_bboxes_labels': labels,
        'gt_bboxes': np.arange(count * 4, dtype=np.float32).reshape(count, 4),
        'gt_ignore_flags': np.zeros(count, dtype=bool),
        **extra,
    }


@pytest.fixture(scope='module')
def fixed():
    return BuildPrompt(sample=False)


@pytest.fixture(scope='module')
def sampled():
    return BuildPrompt()


def test_words_of_a_caption_prompt_stand_for_the_names(fixed, sampled):
    words = {'red circle': {'name': 'ball', 'prefix': 'a '}}
    results = fixed(_results(NAMES, [0], caption_prompt=words))
    assert results['prompt'].text == 'a ball. blue square. green star. white cross'
    assert results['prompt'].names == NAMES
    # and not for those of the next data set
    assert fixed(_results(NAMES, [0], caption_prompt=None))['prompt'].text.startswith('red circle. ')
    with pytest.raises(PromptError, match='was given with sample=True'):
        sampled(_results(NAMES, [0], caption_prompt=words))


@pytest.mark.parametrize('kind', [tuple, list])  # a config hands class names over as either
def test_without_sampling_all_names_stand_in_their_order(fixed, kind):
    results = fixed(_results(kind(NAMES), [3, 0, 3]))
    assert results['prompt'].text == 'red circle. blue square. green star. white cross'
    assert results['prompt'].names == NAMES
    assert results['prompt'].is_detection
    assert results['gt_bboxes_labels'].tolist() == [3, 0, 3]


def test_the_class_list_may_change_between_samples(fixed):
    assert fixed(_results(NAMES))['prompt'].names == NAMES
    assert fixed(_results(NAMES[:2]))['prompt'].names == NAMES[:2]
    assert fixed(_results(NAMES))['prompt'].names == NAMES


def test_sampled_prompts_hold_every_positive_and_labels_follow(sampled):
    np.random.seed(0)
    seen_texts = set()
    for _ in range(50):
        results = sampled(_results(NAMES, [3, 0, 3]))
        names = results['prompt'].names
        assert [names[k] for k in results['gt_bboxes_labels']] == ['white cross', 'red circle', 'white cross']
        assert set(names) <= set(NAMES) and len(names) == len(set(names))
        seen_texts.add(results['prompt'].text)
    assert len(seen_texts) > 10
    assert {text.count('. ') for text in seen_texts} == {1, 2, 3}  # none, some or all negatives


def test_numpy_s_global_seed_decides_the_prompt(sampled):
    texts = []
    for seed in (5, 5, 6):
        np.random.seed(seed)
        texts.append([sampled(_results(NAMES, [1]))['prompt'].text for _ in range(5)])
    assert texts[0] == texts[1] != texts[2]


def test_a_picture_without_boxes_gets_a_prompt_of_negatives(sampled, fixed):
    for transform in (sampled, fixed):
        results = transform(_results(NAMES))
        assert set(results['prompt'].names) <= set(NAMES)
        assert results['gt_bboxes_labels'].shape == (0,)
        assert results['gt_bboxes_labels'].dtype == np.int64


def test_boxes_of_classes_beyond_the_budget_are_removed():
    """1,203 long names: all are positive, only some fit; those that stay keep their own name."""
    names = tuple(f'class number {k} of many' for k in range(1203))
    masks = BitmapMasks(np.zeros((1203, 4, 4), dtype=np.uint8), 4, 4)
    results = BuildPrompt()(_results(names, range(1203), gt_masks=masks))
    labels = results['gt_bboxes_labels']
    assert 10 < len(labels) == len(results['gt_bboxes']) == len(results['gt_ignore_flags']) == len(results['gt_masks'])
    original = results['gt_bboxes'][:, 0] / 4  # the first number of box k is 4 k
    assert [names[int(k)] for k in original] == [results['prompt'].names[k] for k in labels]
    assert BuildPrompt().tokenizer.count_tokens(results['prompt'].text) <= 254


def test_captions_keep_their_words_and_spans(sampled):
    caption = 'a red circle above two blue squares. the red circle is small'
    spans = [[[0, 12], [37, 51]], [[19, 35]]]
    results = sampled(_results(caption, [1, 0, 1], tokens_positive=spans))
    prompt = results['prompt']
    assert not prompt.is_detection
    assert [[prompt.text[s:e] for s, e in p.spans] for p in prompt.phrases] == [
        ['a red circle', 'the red circle'],
        ['two blue squares'],
    ]
    assert results['gt_bboxes_labels'].tolist() == [1, 0, 1]


def test_a_caption_without_phrases_is_all_negative(sampled):
    results = sampled(_results('nothing drawn here', tokens_positive=[]))
    assert results['prompt'].text.startswith('nothing drawn here')
    assert results['gt_bboxes_labels'].shape == (0,)


def test_boxes_of_a_phrase_that_truncation_loses_are_removed():
    caption = 'a cat ' + 'and then some ' * 10 + 'a dog'
    results = BuildPrompt(max_tokens=16)(
        _results(caption, [0, 1], tokens_positive=[[[0, 5]], [[len(caption) - 5, len(caption)]]])
    )
    assert results['gt_bboxes_labels'].tolist() == [0]
    assert results['gt_bboxes'].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ('results', 'texts'),
    [
        (_results(NAMES, [4]), ['label 4', 'the 4 class names (0 to 3)', 'class list belongs to']),
        (_results(NAMES, [-1]), ['label -1']),
        (_results('a cat', [0], tokens_positive=[[[0, 6]]]), ['[0, 6]', "'a cat'"]),
        (_results('a cat', [1], tokens_positive=[[[0, 5]]]), ['label 1', "1 phrases of 'a cat'"]),
        (_results('a cat', [0]), ['without "tokens_positive"', 'Add them']),
        (_results(()), ['"text" is ()', 'return_classes=True']),
        ({'img_path': 'dir/a.jpg'}, ['"text" is None', 'return_classes=True']),
    ],
)
def test_errors_name_the_picture_the_value_and_the_fix(sampled, results, texts):
    with pytest.raises(PromptError) as caught:
        sampled(results)
    for text in ['"dir/a.jpg"', *texts]:
        assert text in str(caught.value)


def test_names_over_budget_without_sampling_are_an_error_with_the_way_out(fixed):
    with pytest.raises(PromptError, match=r'300 class names need \d+ tokens.*reads 256.*sample=True'):
        fixed(_results(tuple(f'thing number {k}' for k in range(300))))


def test_it_travels_to_a_loader_worker(sampled):
    copy = pickle.loads(pickle.dumps(sampled))
    assert copy(_results(NAMES, [2]))['prompt'].names
