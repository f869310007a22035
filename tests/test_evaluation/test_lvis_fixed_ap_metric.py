"""Standard and fixed AP on LVIS: against the lvis package on made-up files, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from mmdet.registry import METRICS

from tests.test_evaluation.lvis_file import HEIGHT, WIDTH, prediction, result_rows, write_file

lvis = pytest.importorskip('lvis', reason='needs the lvis package')

FIGURES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')
BOX, FAR = (4, 4, 20, 20), (40, 20, 20, 20)


def build(path, **settings):
    return METRICS.build(dict(type='GroundedLVISMetric', ann_file=str(path), **settings))


def evaluate(path, samples, **settings):
    metric = build(path, **settings)
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(size=len(samples))


# ---- against the package


def random_box(draw):
    width, height = draw.integers(4, 40), draw.integers(4, 36)
    return [int(draw.integers(0, WIDTH - width)), int(draw.integers(0, HEIGHT - height)), int(width), int(height)]


def near(draw, box):
    """A box that overlaps another one, inside the picture."""
    x, y, width, height = (int(side + draw.integers(-2, 3)) for side in box)
    x, y = max(x, 0), max(y, 0)
    return [x, y, max(1, min(width, WIDTH - x)), max(1, min(height, HEIGHT - y))]


@pytest.fixture(scope='module', params=[0, 1, 2])
def made_up(request, tmp_path_factory):
    """A file of 12 pictures and 9 classes, one of them without objects, and some 500 detections."""
    draw = np.random.default_rng(request.param)
    images, objects = [], []
    for image in range(1, 13):
        present = draw.choice(np.arange(1, 9), size=3, replace=False).tolist()
        rest = [category for category in range(1, 10) if category not in present]
        objects += [(image, category, random_box(draw)) for category in present for _ in range(draw.integers(1, 4))]
        partly = [present[0]] if image % 3 == 0 else []
        images.append((image, draw.choice(rest, size=2, replace=False).tolist(), partly))
    path = write_file(tmp_path_factory.mktemp('lvis') / 'made_up.json', images, objects, 'rrrcccfff')
    samples = []
    for image, _, _ in images:
        found = [(category, near(draw, box)) for one, category, box in objects if one == image for _ in range(3)]
        found += [(int(draw.integers(1, 10)), random_box(draw)) for _ in range(25)]
        labels, boxes = [category - 1 for category, _ in found], [box for _, box in found]
        # distinct scores: which of two equal ones a limit cuts off is nobody's rule
        samples.append(prediction(image, labels, boxes, draw.random(len(found))))
    return path, samples


def package_figures(path, rows, kind, limit):
    evaluation = lvis.LVISEval(lvis.LVIS(str(path)), lvis.LVISResults(lvis.LVIS(str(path)), rows, max_dets=limit), kind)
    evaluation.run()
    return {name: float(evaluation.results[name]) for name in FIGURES}


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.parametrize('limit', [10, 300])
def test_standard_ap_is_the_packages(made_up, kind, limit):
    path, samples = made_up
    figures = evaluate(path, samples, metric=kind, max_per_image=limit)
    expected = package_figures(path, result_rows(samples, kind), kind, limit)
    assert {name: figures[f'lvis/{kind}_{name}'] for name in FIGURES} == expected
    assert 0.02 < expected['AP'] < 1


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.parametrize('limit', [12, 10_000])
def test_fixed_ap_is_the_packages_for_the_best_of_each_class(made_up, kind, limit):
    path, samples = made_up
    figures = evaluate(path, samples, metric=kind, max_per_class=limit, max_per_image=5)
    rows = sorted(result_rows(samples, kind), key=lambda row: -row['score'])
    best = [row for category in range(1, 10) for row in [row for row in rows if row['category_id'] == category][:limit]]
    expected = package_figures(path, best, kind, -1)
    assert {name: figures[f'lvis/{kind}_fixed_{name}'] for name in FIGURES} == expected
    assert 0.02 < expected['AP'] < 1


def test_classes_in_groups_are_classes_at_once(made_up, monkeypatch):
    path, samples = made_up
    whole = evaluate(path, samples)
    monkeypatch.setattr('glipv2_mmdet.evaluation.lvis_fixed_ap_metric._CLASSES_AT_ONCE', 2)
    assert evaluate(path, samples) == whole


def test_ranks_are_joined_and_a_padded_picture_counts_once(made_up, monkeypatch):
    path, samples = made_up
    settings = dict(metric=['bbox', 'segm'], max_per_class=12, max_per_image=10)
    whole = evaluate(path, samples, **settings)
    ranks = []
    # the third rank gets a picture of the first one again
    for part in (samples[::3], samples[1::3], [*samples[2::3], samples[0]]):
        metric = build(path, **settings)
        metric.process({}, part)
        ranks.append(metric._classes)
    joined = metric.compute_metrics(ranks)
    assert {f'lvis/{name}': value for name, value in joined.items()} == whole


def test_labels_follow_the_names_of_the_data_set(made_up):
    path, samples = made_up
    settings = dict(metric=['bbox', 'segm'], max_per_class=12, max_per_image=10)
    metric = build(path, **settings)
    metric.dataset_meta = dict(classes=('no category', *(f'thing {k}' for k in range(9, 0, -1))))
    for sample in samples:
        found = sample['pred_instances']
        metric.process({}, [dict(sample, pred_instances=dict(found, labels=9 - found['labels']))])
    assert metric.evaluate(size=len(samples)) == evaluate(path, samples, **settings)


def test_names_that_do_not_fit_the_file_are_refused(made_up):
    metric = build(made_up[0])
    metric.dataset_meta = dict(classes=('Thing 1', 'thing 2'))
    with pytest.raises(ValueError, match=r'spelled otherwise in the file: "Thing 1" \(the file has "thing 1"\)'):
        metric.process({}, made_up[1])


# ---- by hand


@pytest.fixture
def one_object(tmp_path):
    def write(absent=(), partly=(), frequencies='rcf'):
        return write_file(tmp_path / 'one.json', [(7, list(absent), list(partly))], [(7, 1, BOX)], frequencies)

    return write


def ap(figures, kind='bbox'):
    return figures[f'lvis/{kind}_AP'], figures[f'lvis/{kind}_fixed_AP']


def test_a_perfect_detection_is_one_and_groups_without_objects_are_minus_one(one_object):
    figures = evaluate(one_object(), [prediction(7, [0], [BOX], [0.9])], metric=['bbox', 'segm'])
    for kind in ('bbox', 'segm', 'bbox_fixed', 'segm_fixed'):
        assert figures[f'lvis/{kind}_AP'] == figures[f'lvis/{kind}_APr'] == pytest.approx(1)
        assert figures[f'lvis/{kind}_APc'] == figures[f'lvis/{kind}_APf'] == -1


def test_a_better_scored_miss_halves_the_precision(one_object):
    figures = evaluate(one_object(), [prediction(7, [0, 0], [FAR, BOX], [0.9, 0.8])])
    assert ap(figures) == pytest.approx((0.5, 0.5))


def test_a_miss_of_a_class_that_is_not_annotated_exhaustively_does_not_count(one_object):
    figures = evaluate(one_object(partly=[1]), [prediction(7, [0, 0], [FAR, BOX], [0.9, 0.8])])
    assert ap(figures) == pytest.approx((1, 1))


@pytest.fixture
def two_pictures(tmp_path):
    def write(absent):
        images = [(7, [], []), (8, absent, [])]
        return write_file(tmp_path / 'two.json', images, [(7, 1, BOX), (8, 2, BOX)], 'rc')

    return write


@pytest.mark.parametrize(('absent', 'expected'), [([1], 0.5), ([], 1)])
def test_a_miss_counts_only_where_the_class_is_known_to_be_absent(two_pictures, absent, expected):
    samples = [prediction(7, [0], [BOX], [0.8]), prediction(8, [0, 1], [FAR, BOX], [0.9, 0.7])]
    figures = evaluate(two_pictures(absent), samples)
    assert figures['lvis/bbox_APr'] == figures['lvis/bbox_fixed_APr'] == pytest.approx(expected)
    assert figures['lvis/bbox_APc'] == pytest.approx(1)


def test_the_limit_per_image_is_of_standard_ap_alone(one_object):
    # three better detections of other classes push the right one out of the image's three places
    sample = prediction(7, [1, 1, 2, 0], [FAR, BOX, FAR, BOX], [0.9, 0.8, 0.7, 0.6])
    assert ap(evaluate(one_object(), [sample], max_per_image=3)) == pytest.approx((0, 1))
    assert ap(evaluate(one_object(), [sample], max_per_image=4)) == pytest.approx((1, 1))


def test_the_limit_per_class_counts_detections_that_are_not_judged(two_pictures):
    # picture 8 says nothing about class 1: its detections fill places and are no mistakes
    samples = [prediction(7, [0], [BOX], [0.3]), prediction(8, [0, 0], [FAR, BOX], [0.9, 0.8])]
    assert evaluate(two_pictures([]), samples, max_per_class=2)['lvis/bbox_fixed_APr'] == pytest.approx(0)
    assert evaluate(two_pictures([]), samples, max_per_class=3)['lvis/bbox_fixed_APr'] == pytest.approx(1)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_nothing_found_is_zero(one_object, kind):
    figures = evaluate(one_object(), [prediction(7, [], [], [])], metric=kind)
    assert ap(figures, kind) == (0, 0) and figures[f'lvis/{kind}_APf'] == -1


def test_box_and_mask_are_judged_apart(one_object):
    sample = prediction(7, [0], [BOX], [0.9], masks=np.zeros((1, HEIGHT, WIDTH), dtype=bool))
    figures = evaluate(one_object(), [sample], metric=['bbox', 'segm'])
    assert ap(figures, 'bbox') == pytest.approx((1, 1)) and ap(figures, 'segm') == (0, 0)


def test_run_lengths_are_taken_as_they_are(one_object):
    sample = prediction(7, [0], [BOX], [0.9])
    bitmaps = evaluate(one_object(), [sample], metric='segm')
    sample['pred_instances']['masks'] = [row['segmentation'] for row in result_rows([sample], 'segm')]
    assert evaluate(one_object(), [sample], metric='segm') == bitmaps


def test_memory_stays_at_twice_the_limit_of_a_class(one_object):
    metric = build(one_object(), max_per_class=5, max_per_image=0)
    for k in range(100):
        metric.process({}, [prediction(7, [0] * 4, [BOX] * 4, [k / 100] * 4)])
        kept = metric._classes[1]
        assert len(kept._rows) + sum(map(len, kept._new)) <= 10 and len(kept._detections) <= 10


# ---- errors


def test_errors_say_what_to_do(one_object):
    path = one_object()
    with pytest.raises(ValueError, match=r"metric is 'proposal'; expected 'bbox', 'segm'"):
        build(path, metric='proposal')
    with pytest.raises(ValueError, match=r'Image 9 is not in .*one\.json\. Use the same file'):
        evaluate(path, [prediction(9, [0], [BOX], [0.9])])
    with pytest.raises(ValueError, match=r'label 3, .* has 3 categories'):
        evaluate(path, [prediction(7, [3], [BOX], [0.9])])
    without = prediction(7, [0], [BOX], [0.9])
    del without['pred_instances']['masks']
    with pytest.raises(ValueError, match=r"no masks, which metric 'segm' needs"):
        evaluate(path, [without], metric='segm')


def test_a_missing_package_says_how_to_get_it(one_object, monkeypatch):
    monkeypatch.setattr('glipv2_mmdet.evaluation.lvis_fixed_ap_metric.LVIS', None)
    with pytest.raises(ImportError, match='pip install lvis'):
        build(one_object())


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_both_aps_are_the_packages_on_real_annotations(shared_dir, kind):
    path = shared_dir / 'data/lvis_sample/lvis_val_100.json'
    if not path.is_file():
        pytest.skip(f'no {path}')
    truth = lvis.LVIS(str(path))
    categories, draw = truth.get_cat_ids(), np.random.default_rng(0)
    labels = {category: label for label, category in enumerate(categories)}
    metric, rows = build(path, metric=kind, max_per_image=8, max_per_class=10), []
    for image in truth.get_img_ids()[:30]:
        objects = truth.load_anns(truth.get_ann_ids(img_ids=[image]))
        if not objects:
            continue
        masks = np.stack([truth.ann_to_mask(row) for row in objects]).astype(bool)
        found = [
            categories[draw.integers(len(categories))] if draw.random() < 0.2 else row['category_id'] for row in objects
        ]
        boxes = np.array([row['bbox'] for row in objects]) + draw.normal(0, 2, (len(objects), 1))
        sample = prediction(image, [labels[category] for category in found], boxes, draw.random(len(objects)), masks)
        metric.process({}, [sample])
        rows += [
            dict(row, category_id=category) for row, category in zip(result_rows([sample], kind), found, strict=True)
        ]
    figures = metric.evaluate(30)
    best = sorted(rows, key=lambda row: -row['score'])
    best = [row for category in categories for row in [row for row in best if row['category_id'] == category][:10]]
    for name, expected in (
        (kind, package_figures(path, rows, kind, 8)),
        (f'{kind}_fixed', package_figures(path, best, kind, -1)),
    ):
        assert {key: figures[f'lvis/{name}_{key}'] for key in FIGURES} == expected
        assert expected['AP'] > 0.05
