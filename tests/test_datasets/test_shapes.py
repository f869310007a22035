"""The files of the embedded data set."""

import json
import re
from collections import Counter

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from glipv2_mmdet.datasets.shapes import CATEGORIES, VOCABULARIES, make_shapes
from glipv2_mmdet.datasets.shapes_scene import COLOURS, HELD_OUT, SHAPES, SPLITS
from glipv2_mmdet.datasets.shapes_text import NUMBERS
from tests.shapes_fixture import SIZES


def _load(path):
    return json.loads(path.read_text())


def _load_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def _contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()
    }


def test_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path):
    first = make_shapes(tmp_path / 'a', 5, 2, 2, seed=1)
    second = make_shapes(tmp_path / 'b', 5, 2, 2, seed=1, workers=2)
    assert _contents(first) == _contents(second)
    assert _contents(make_shapes(tmp_path / 'c', 5, 2, 2, seed=2)) != _contents(first)


def test_more_scenes_leave_the_first_ones_as_they_are(tmp_path, shapes_dir):
    small = make_shapes(tmp_path / 'small', 3, 1, 1, seed=0)
    for name in ('images/train/000003.jpg', 'images/zero_shot/000001.jpg'):
        assert (small / name).read_bytes() == (shapes_dir / name).read_bytes()


def test_a_second_call_writes_nothing_and_another_recipe_replaces(tmp_path):
    progress = []
    folder = make_shapes(tmp_path / 'd', 2, 1, 1, progress=lambda done, total: progress.append((done, total)))
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    stamp = (folder / 'recipe.json').stat().st_mtime_ns
    make_shapes(folder, 2, 1, 1, workers=2, progress=lambda *_: pytest.fail('rendered again'))
    assert (folder / 'recipe.json').stat().st_mtime_ns == stamp
    make_shapes(folder, 1, 1, 1)
    assert len(list((folder / 'images/train').iterdir())) == 1
    assert [p.name for p in tmp_path.iterdir()] == ['d']  # no temporary folder is left


def test_a_rendering_without_boxes_of_captions_gains_them_and_nothing_else_changes(tmp_path):
    folder = make_shapes(tmp_path / 'e', 4, 2, 2, seed=3)
    complete = _contents(folder)
    files = sorted(folder.glob('annotations/grounding_*.jsonl'))
    assert [path.name for path in files] == [
        'grounding_train.jsonl',
        'grounding_val.jsonl',
        'grounding_zero_shot.jsonl',
    ]
    for path in files[:2]:
        path.unlink()
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}
    progress = []
    make_shapes(folder, 4, 2, 2, seed=3, progress=lambda *numbers: progress.append(numbers))
    assert _contents(folder) == complete and progress[-1] == (6, 6)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_boxes_are_not_added_to_captions_that_were_edited(tmp_path):
    folder = make_shapes(tmp_path / 'f', 1, 1, 1)
    (folder / 'annotations/grounding_val.jsonl').unlink()
    path = folder / 'annotations/captions_val.json'
    path.write_text(
        path.read_text()
        .replace('thing', 'item')
        .replace('circle', 'ring')
        .replace('square', 'box')
        .replace('star', 'sun')
        .replace('cross', 'plus')
        .replace('diamond', 'rhomb')
    )
    with pytest.raises(FileExistsError, match='does not hold the captions of its recipe'):
        make_shapes(folder, 1, 1, 1)


@pytest.mark.parametrize('split', SPLITS)
def test_every_caption_has_its_boxes(shapes_dir, split):
    captions = _load(shapes_dir / f'annotations/captions_{split}.json')['annotations']
    lines = _load_lines(shapes_dir / f'annotations/grounding_{split}.jsonl')
    assert [(c['id'], c['image_id'], c['caption']) for c in captions] == [
        (line['caption_id'], line['image_id'], line['grounding']['caption']) for line in lines
    ]
    for line in lines:
        caption = line['grounding']['caption']
        for region in line['grounding']['regions']:
            start, end = region['tokens_positive'][0]
            assert caption[start:end] == region['phrase'] and 'mask' not in region
            boxes = region['bbox'] if isinstance(region['bbox'][0], list) else [region['bbox']]
            number = next((n for n, word in enumerate(NUMBERS) if region['phrase'].startswith(word + ' ')), 1)
            assert len(boxes) == number


def test_a_failed_rendering_leaves_nothing_behind(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_shapes(tmp_path / 'd', 2, 1, 1, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_somebody_else_is_refused_and_kept(tmp_path):
    (tmp_path / 'mine.txt').write_text('keep')
    with pytest.raises(FileExistsError, match=r'no readable recipe\.json.*Choose another folder'):
        make_shapes(tmp_path, 1, 1, 1)
    assert [p.name for p in tmp_path.iterdir()] == ['mine.txt']


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [({'train': 0}, 'train scenes'), ({'seed': -1}, 'seed'), ({'workers': 0}, 'workers')],
)
def test_numbers_that_make_no_data_set_are_named(tmp_path, arguments, name):
    with pytest.raises(ValueError, match=f'number for "{name}", expected at least'):
        make_shapes(tmp_path / 'd', **{'train': 1, 'val': 1, 'zero_shot': 1, **arguments})


@pytest.mark.parametrize('split', SPLITS)
def test_coco_files_agree_with_pictures_and_masks(shapes_dir, split):
    coco = COCO(str(shapes_dir / f'annotations/{split}.json'))
    assert len(coco.imgs) == SIZES[split]
    assert list(coco.anns) == list(range(1, len(coco.anns) + 1))  # COCO's evaluation reads id 0 as no match
    for image in coco.imgs.values():
        picture = cv2.imread(str(shapes_dir / 'images' / split / image['file_name']))
        assert picture.shape == (image['height'], image['width'], 3)
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        assert mask.sum() == annotation['area']
        assert coco_mask.toBbox(coco.annToRLE(annotation)).tolist() == annotation['bbox']


def test_categories_are_the_seen_pairs_or_the_held_out_ones(shapes_dir):
    held_out = {f'{colour} {shape}' for colour, shape in HELD_OUT}
    for split in SPLITS:
        content = _load(shapes_dir / f'annotations/{split}.json')
        ids = [category['id'] for category in content['categories']]
        assert ids == (list(range(31, 37)) if split == 'zero_shot' else list(range(1, 31)))
        assert all(category['name'] == CATEGORIES[category['id'] - 1] for category in content['categories'])
        assert {c['name'] in held_out for c in content['categories']} == {split == 'zero_shot'}
        assert {a['category_id'] for a in content['annotations']} <= set(ids)
        annotated = {a['image_id'] for a in content['annotations']}
        assert annotated == {image['id'] for image in content['images']}


def test_train_and_val_texts_never_name_a_held_out_pair(shapes_dir):
    """Also not in plural, or with other words between colour and shape."""
    shapes = '|'.join(SHAPES)
    named = re.compile(rf'\b({"|".join(COLOURS)}) (?:(?:small|large|plain|striped|dotted|ringed) )*({shapes})')
    seen_files = 0
    for path in (shapes_dir / 'annotations').iterdir():
        if 'zero_shot' not in path.name:
            pairs = set(named.findall(path.read_text()))
            assert pairs.isdisjoint(HELD_OUT), path.name
            seen_files += bool(pairs)
    assert seen_files == 12  # all but answers_train and answers_val, which are single words
    assert {pair for pair in named.findall((shapes_dir / 'annotations/zero_shot.json').read_text())} == set(HELD_OUT)


def test_odvg_has_a_detection_record_per_picture_and_grounding_for_some(shapes_dir):
    records = _load_lines(shapes_dir / 'annotations/train_odvg.jsonl')
    kinds = Counter('grounding' if 'grounding' in r else 'detection' for r in records)
    assert kinds['detection'] == 24
    assert 0 < kinds['grounding'] < 24
    assert {r['vocabulary'] for r in records if 'detection' in r} == set(VOCABULARIES)


def test_odvg_boxes_and_labels_are_those_of_the_coco_file(shapes_dir):
    content = _load(shapes_dir / 'annotations/train.json')
    label_map = _load(shapes_dir / 'annotations/label_map.json')
    truth: dict[int, list] = {}
    for annotation in content['annotations']:
        x, y, w, h = annotation['bbox']
        colour, shape = CATEGORIES[annotation['category_id'] - 1].split()
        names = {'colour_shape': f'{colour} {shape}', 'shape': shape, 'colour': f'{colour} thing'}
        truth.setdefault(annotation['image_id'], []).append(([x, y, x + w, y + h], names))
    for record in _load_lines(shapes_dir / 'annotations/train_odvg.jsonl'):
        boxes = [box for box, _ in truth[record['image_id']]]
        if 'detection' in record:
            instances = record['detection']['instances']
            names = label_map[record['vocabulary']]
            assert [i['bbox'] for i in instances] == boxes
            assert [names[str(i['label'])] for i in instances] == [i['category'] for i in instances]
            assert [i['category'] for i in instances] == [n[record['vocabulary']] for _, n in truth[record['image_id']]]
        else:
            for region in record['grounding']['regions']:
                several = isinstance(region['bbox'][0], list)
                assert all(b in boxes for b in (region['bbox'] if several else [region['bbox']]))
                masks = region['mask'] if several else [region['mask']]
                for box, mask in zip(region['bbox'] if several else [region['bbox']], masks, strict=True):
                    x, y, w, h = coco_mask.toBbox(mask)
                    assert [x, y, x + w, y + h] == box
                start, end = region['tokens_positive'][0]
                assert record['grounding']['caption'][start:end] == region['phrase']


@pytest.mark.parametrize('split', SPLITS)
def test_captions_questions_and_phrases_point_to_pictures_and_annotations(shapes_dir, split):
    folder = shapes_dir / 'annotations'
    content = _load(folder / f'{split}.json')
    ids = {image['id'] for image in content['images']}
    captions = _load(folder / f'captions_{split}.json')
    assert Counter(a['image_id'] for a in captions['annotations']) == dict.fromkeys(ids, 5)
    questions = _load(folder / f'questions_{split}.json')['questions']
    answers = _load(folder / f'answers_{split}.json')['annotations']
    assert [q['question_id'] for q in questions] == [a['question_id'] for a in answers]
    assert len({q['question_id'] for q in questions}) == len(questions) >= 2 * len(ids)
    assert {q['image_id'] for q in questions} == ids
    for answer in answers:
        assert [a['answer'] for a in answer['answers']] == [answer['multiple_choice_answer']] * 10
    truth = {a['id']: a for a in content['annotations']}
    for phrase in _load_lines(folder / f'referring_{split}.jsonl'):
        meant = [truth[k] for k in phrase['ann_ids']]
        assert {a['image_id'] for a in meant} == {phrase['image_id']}
        assert phrase['masks'] == [a['segmentation'] for a in meant]
        corners = np.array([a['bbox'] for a in meant])
        corners[:, 2:] += corners[:, :2]
        assert phrase['boxes'] == corners.tolist()


def test_image_ids_differ_between_splits(shapes_dir):
    ids = [image['id'] for split in SPLITS for image in _load(shapes_dir / f'annotations/{split}.json')['images']]
    assert len(ids) == len(set(ids)) == sum(SIZES.values())
