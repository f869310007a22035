"""CaptionMetric: official scores, one scorer at a time, one caption per image, with Java and without."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
from mmdet.registry import METRICS
from mmengine.logging import MMLogger

from glipv2_mmdet.evaluation import caption_scores, caption_tokenize
from glipv2_mmdet.evaluation.caption_scores import score_captions, score_tokenized
from glipv2_mmdet.evaluation.caption_tokenize import tokenize_official, tokenize_plain
from glipv2_mmdet.structures import PredictedCaption

NGRAM = ('BLEU', 'ROUGE_L', 'CIDEr')
needs_java = pytest.mark.skipif(shutil.which('java') is None, reason='no Java is installed')


@pytest.fixture(scope='module')
def official(shared_dir):
    """(expected scores, candidates, references) of 126 images of COCO val2017."""
    folder = shared_dir / 'data/caption_eval'
    if not folder.is_dir():
        pytest.skip(f'no stored caption scores in {folder}')
    expected, candidates, references = (
        json.loads((folder / f'{name}.json').read_text()) for name in ('expected_scores', 'candidates', 'references')
    )
    texts = {}
    for entry in references['annotations']:
        texts.setdefault(entry['image_id'], []).append(entry['caption'])
    return expected, {entry['image_id']: entry['caption'] for entry in candidates}, texts


@pytest.fixture
def no_java(monkeypatch):
    for module in (caption_scores, caption_tokenize):
        monkeypatch.setattr(module.shutil, 'which', lambda name: None)


@pytest.mark.real_data
def test_scores_of_tokenised_text_are_the_official_ones(official):
    expected = official[0]
    words = expected['tokenised']
    scores = score_tokenized(
        {key: [entry['candidate']] for key, entry in words.items()},
        {key: entry['references'] for key, entry in words.items()},
        NGRAM,
    )
    assert set(scores.figures) == {'Bleu_1', 'Bleu_2', 'Bleu_3', 'Bleu_4', 'ROUGE_L', 'CIDEr', 'exact_match'}
    for name in scores.figures.keys() - {'exact_match'}:
        assert scores.figures[name] == pytest.approx(expected['corpus'][name], abs=1e-9), name


@pytest.mark.real_data
@pytest.mark.slow
@needs_java
def test_scores_of_raw_text_are_the_official_ones_with_java(official):
    expected, candidates, references = official
    scores = score_captions(candidates, references, (*NGRAM, 'METEOR'))
    assert scores.not_official is None and scores.skipped == {}
    for name, value in expected['corpus'].items():
        assert scores.figures[name] == pytest.approx(value, abs=1e-9), name


@pytest.mark.real_data
def test_without_java_the_words_of_these_captions_are_the_same_and_the_result_says_so(official, no_java):
    expected, candidates, references = official
    words = expected['tokenised']
    assert tokenize_plain(references) == {int(key): entry['references'] for key, entry in words.items()}
    scores = score_captions(candidates, references, (*NGRAM, 'METEOR'))
    assert scores.not_official == scores.skipped['METEOR'] == 'no Java is installed'
    assert scores.figures['CIDEr'] == pytest.approx(expected['corpus']['CIDEr'], abs=1e-9)


@pytest.mark.real_data
@pytest.mark.slow
@needs_java
def test_the_plain_words_are_the_official_ones_of_1195_more_captions(official, shared_dir):
    texts = [
        entry['caption']
        for entry in json.loads((shared_dir / 'data/caption_eval/captions_val2014_fakecap_results.json').read_text())
    ]
    texts += [
        entry['caption']
        for entry in json.loads((shared_dir / 'data/coco_mini/annotations/captions_train.json').read_text())[
            'annotations'
        ]
    ]
    captions = {k: [text] for k, text in enumerate(texts)}
    assert len(captions) == 1195
    assert tokenize_plain(captions) == tokenize_official(captions)


TRICKY = {
    'He said "hi" (loudly)...': 'he said hi -lrb- loudly -rrb-',
    'Mr. Smith eats, at 10:30 a.m.!': 'mr. smith eats at 10:30 a.m.',
    "a can't won't; the dogs' toys": "a ca n't wo n't the dogs toys",
    'costs $5.00 or 50% off': 'costs $ 5.00 or 50 % off',
    'cannot -- half - eaten black-and-white': 'can not half eaten black-and-white',
    "it's 5 o'clock: the man's hat": "it 's 5 o'clock the man 's hat",
    'stop!! now?': 'stop !! now',
    '': '',
}


def test_plain_words_of_captions_that_are_not_plain():
    assert [words for (words,) in tokenize_plain({k: [text] for k, text in enumerate(TRICKY)}).values()] == list(
        TRICKY.values()
    )


@pytest.mark.slow
@needs_java
def test_official_words_keep_their_place_when_texts_are_empty_or_broken_over_lines():
    texts = list(TRICKY)
    words = tokenize_official({'a': [*texts[:3], ''], 'b': ['two\ncups\n', *texts[3:]]})
    expected = list(TRICKY.values())
    assert words == {'a': [*expected[:3], ''], 'b': ['two cups', *expected[3:]]}


REFERENCES = dict(
    images=[dict(id=1), dict(id=2), dict(id=3)],
    annotations=[
        dict(image_id=1, caption='a red cross.'),
        dict(image_id=1, caption='One cross'),
        dict(image_id=2, caption='two stars and a circle'),
    ],
)


@pytest.fixture
def build(tmp_path, no_java):
    def make(**settings):
        (tmp_path / 'references.json').write_text(json.dumps(REFERENCES))
        return METRICS.build(dict(type='CaptionMetric', ann_file=str(tmp_path / 'references.json'), **settings))

    return make


def _evaluate(metric, *captions):
    metric.process({}, [dict(img_id=key, pred_caption=caption) for key, caption in captions])
    return metric.evaluate(size=len(captions))


def test_a_caption_is_a_text_or_has_one_and_equal_words_are_an_exact_match(build):
    said = PredictedCaption('two stars', -1.0, ())
    figures = _evaluate(build(metrics=('BLEU',)), (1, 'One cross.'), (2, said), (3, 'anything'))
    assert figures['caption/exact_match'] == 0.5 and figures['caption/official_words'] == 0.0
    # 4 of 4 words, and the brevity penalty of 4 words against 2 + 5
    assert figures['caption/Bleu_1'] == pytest.approx(2.718281828 ** (1 - 7 / 4), rel=1e-6)


def test_scorers_that_cannot_run_are_named_and_the_others_run(build, caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.WARNING):
            figures = _evaluate(build(), (1, 'a cross'), (2, 'two stars'))
    finally:
        logger.removeHandler(caplog.handler)
    assert {'caption/CIDEr', 'caption/ROUGE_L', 'caption/Bleu_4'} < set(figures)
    assert not {'caption/METEOR', 'caption/SPICE'} & set(figures)
    assert 'METEOR was not measured: no Java' in caplog.text and 'SPICE was not measured: no Java' in caplog.text
    assert 'without the official tokeniser' in caplog.text


def test_spice_is_skipped_where_its_models_would_have_to_be_downloaded(monkeypatch, tmp_path):
    import pycocoevalcap.spice.spice as spice

    monkeypatch.setattr(caption_scores.shutil, 'which', lambda name: '/usr/bin/java')
    monkeypatch.setattr(spice, '__file__', str(tmp_path / 'spice.py'))
    monkeypatch.setattr(spice, 'get_stanford_models', lambda: pytest.fail('tried to download'))
    scores = score_tokenized({1: ['a b']}, {1: ['a b']}, ('SPICE', 'ROUGE_L'))
    assert 'stanford-corenlp-3.6.0.jar' in scores.skipped['SPICE'] and scores.figures['ROUGE_L'] == 1.0


@needs_java
def test_a_meteor_that_dies_takes_nothing_with_it(monkeypatch):
    import pycocoevalcap.meteor.meteor as meteor

    monkeypatch.setattr(meteor, 'METEOR_JAR', 'missing.jar')
    scores = score_tokenized({1: ['a b']}, {1: ['a b']}, ('METEOR', 'ROUGE_L'))  # would wait for ever for its lock
    assert set(scores.skipped) == {'METEOR'} and scores.figures['ROUGE_L'] == 1.0


@pytest.mark.parametrize(
    ('captions', 'message'),
    [
        ([(1, 'a'), (2, 'b'), (2, 'c')], '1 images have more than one caption: 2. Expected exactly one'),
        ([(1, 'a')], '1 images have no caption: 2'),
    ],
)
def test_every_image_needs_exactly_one_caption(build, captions, message):
    with pytest.raises(ValueError, match=message):
        _evaluate(build(), *captions)


def test_an_image_of_another_file_is_an_error(tmp_path, no_java):
    (tmp_path / 'r.json').write_text(json.dumps([dict(image='1.jpg', caption=['a'])]))
    metric = METRICS.build(dict(type='CaptionMetric', ann_file=str(tmp_path / 'r.json')))
    with pytest.raises(ValueError, match=r'1 images are not in .*r.json: 9'):
        _evaluate(metric, (1, 'a'), (9, 'b'))


def test_the_result_file_is_what_the_server_takes(build, tmp_path):
    out = tmp_path / 'new/results.json'
    _evaluate(build(metrics=('ROUGE_L',), outfile=str(out)), (1, 'a cross'), (2, 'stars'), (3, 'nothing'))
    assert json.loads(out.read_text()) == [
        dict(image_id=1, caption='a cross'),
        dict(image_id=2, caption='stars'),
        dict(image_id=3, caption='nothing'),
    ]


def test_an_unknown_metric_is_refused_when_the_run_starts(build):
    with pytest.raises(ValueError, match="'BLEU4' is unknown; expected some of BLEU, METEOR"):
        build(metrics=('BLEU4',))


def test_candidates_and_references_must_be_of_the_same_images():
    with pytest.raises(ValueError, match='1 captions for 2 images'):
        score_captions({1: 'a'}, {1: ['a'], 2: ['b']})
