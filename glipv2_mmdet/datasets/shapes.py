"""Writes the embedded data set "shapes": rendered scenes with boxes, masks and all kinds of text.

It exists so that training, evaluation and tests run on a fresh machine without a download. Six colour-shape
pairs (``HELD_OUT``) are never drawn or named in train and val; they are the classes of the zero-shot split.

Layout of the folder: ``images/<split>/NNNNNN.jpg`` and in ``annotations/``: ``<split>.json`` (COCO with RLE
masks), ``train_odvg.jsonl`` and ``label_map.json``, ``captions_<split>.json`` and the boxes of the same captions in
``grounding_<split>.jsonl``, ``questions_<split>.json`` and ``answers_<split>.json`` (VQA v2),
``referring_<split>.jsonl``. ``recipe.json`` says how it was made.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from glipv2_mmdet.datasets.shapes_scene import COLOURS, HELD_OUT, SEEN, SHAPES, SPLITS, Scene, draw_scene, scene_rng
from glipv2_mmdet.datasets.shapes_text import (
    Description,
    Grounding,
    make_grounded_captions,
    make_grounding,
    make_questions,
    make_referring,
)

# Raise it whenever the same arguments change a file. A file that is new is added to folders that lack it.
GENERATOR_VERSION = 6
JPEG_QUALITY = 92
# Category id = position + 1: 1-30 are the seen pairs, 31-36 the held-out ones.
CATEGORIES = tuple(f'{colour} {shape}' for colour, shape in SEEN + HELD_OUT)
# Class lists that detection records of train_odvg.jsonl refer to, and how often each is used.
VOCABULARIES = {
    'colour_shape': CATEGORIES[: len(SEEN)],
    'shape': SHAPES,
    'colour': tuple(Description(colour=colour).words() for colour in COLOURS),
}
_VOCABULARY_SHARE = (0.9, 0.05, 0.05)
_GROUNDING_SHARE = 0.2  # of the train pictures also have a grounding record
_ID_OFFSET = {split: k * 1_000_000 for k, split in enumerate(SPLITS)}  # image ids differ between splits
_TEXT_STREAM = 1  # random stream of its own: changing texts leaves pictures alone


def make_shapes(
    out_dir: str | Path,
    train: int = 2000,
    val: int = 200,
    zero_shot: int = 200,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Renders the data set into ``out_dir``, or returns at once when it is already there.

    Equal arguments give byte-identical files, whatever ``workers`` is. Files appear in ``out_dir`` only when
    all are written; an older rendering with another recipe is replaced. A rendering of this recipe from before
    ``grounding_<split>.jsonl`` existed gains these files, and no other is touched.

    Args:
        train, val, zero_shot: number of scenes per split, at least 1.
        progress: called as ``progress(scenes_done, scenes_in_all)``.

    Raises:
        ValueError: a split without scenes, a negative seed or no worker.
        FileExistsError: ``out_dir`` holds files that this function did not write.
    """
    counts = dict(zip(SPLITS, (train, val, zero_shot), strict=True))
    for name, value, least in [
        *((f'{k} scenes', v, 1) for k, v in counts.items()),
        ('seed', seed, 0),
        ('workers', workers, 1),
    ]:
        if value < least:
            raise ValueError(f'Got {value} as number for "{name}", expected at least {least}. Pass a larger one.')
    out_dir = Path(out_dir)
    recipe = {'generator_version': GENERATOR_VERSION, 'seed': seed, **counts}
    if _found_recipe(out_dir) == recipe:
        _add_grounding(out_dir, counts, seed, workers, progress)
        return out_dir
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    half_done = Path(tempfile.mkdtemp(prefix=f'.{out_dir.name}-', dir=out_dir.parent))
    try:
        _render_all(half_done, counts, seed, workers, progress)
        (half_done / 'recipe.json').write_text(json.dumps(recipe, indent=1) + '\n')
        half_done.chmod(0o755)  # mkdtemp makes it private; data folders are shared
        if out_dir.exists():
            shutil.rmtree(out_dir)
        half_done.rename(out_dir)
    finally:
        shutil.rmtree(half_done, ignore_errors=True)
    return out_dir


def _found_recipe(out_dir: Path) -> dict[str, int] | None:
    if not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir())):
        return None
    try:
        return json.loads((out_dir / 'recipe.json').read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise FileExistsError(
            f'"{out_dir}" has content but no readable recipe.json, so it is not a rendered shapes '
            'data set and will not be replaced. Choose another folder or empty it.'
        ) from error


def _render_all(
    root: Path, counts: dict[str, int], seed: int, workers: int, progress: Callable[[int, int], None] | None
) -> None:
    (root / 'annotations').mkdir()
    done, total = 0, sum(counts.values())
    for split, count in counts.items():
        (root / 'images' / split).mkdir(parents=True)
        records = []
        for record in _map_scenes(partial(_render_scene, root, seed, split), count, workers):
            records.append(record)
            done += 1
            if progress is not None:
                progress(done, total)
        _write_split(root / 'annotations', split, records)
    label_map = {name: {str(k): text for k, text in enumerate(words)} for name, words in VOCABULARIES.items()}
    _write_json(root / 'annotations' / 'label_map.json', label_map)


def _map_scenes(render: Callable[[int], dict], count: int, workers: int) -> Iterator[dict]:
    numbers = range(1, count + 1)
    if workers == 1:
        yield from map(render, numbers)
        return
    # fork spares each worker the seconds that importing torch takes.
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else 'spawn'
    with ProcessPoolExecutor(workers, multiprocessing.get_context(method)) as pool:
        yield from pool.map(render, numbers, chunksize=16)


def _render_scene(root: Path, seed: int, split: str, number: int) -> dict[str, Any]:
    """Draws scene ``number`` (from 1), writes its picture and returns its annotation as plain data."""
    scene = draw_scene(seed, split, number)
    path = root / 'images' / split / _file_name(number)
    if not cv2.imwrite(str(path), scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f'Picture "{path}" could not be written. Check free space and rights of the folder.')
    rng = scene_rng(seed, split, number, _TEXT_STREAM)
    image = _image_entry(scene, split, number)
    # Zero-shot scenes hold seen pairs too: distractors, drawn and told about in texts, but not annotated.
    pairs = HELD_OUT if split == 'zero_shot' else SEEN
    annotated = [k for k, o in enumerate(scene.objects) if (o.colour, o.shape) in pairs]
    masks = [_encode_mask(o.mask) for o in scene.objects]
    annotations = [_annotation(scene, k, image['id'], masks[k]) for k in annotated]
    captions = make_grounded_captions(rng, scene.objects)
    record = {
        'image': image,
        'annotations': annotations,
        'captions': [grounding.caption for grounding in captions],
        'grounding': [_grounding_record(scene, image, grounding) for grounding in captions],
        'questions': [
            vars(q) for q in make_questions(rng, scene.objects, SEEN + HELD_OUT if split == 'zero_shot' else SEEN)
        ],
        'referring': [
            {
                **_image_keys(image),
                'phrase': match.text,
                'members': [annotated.index(k) for k in match.members],
                'boxes': [list(scene.objects[k].box) for k in match.members],
                'masks': [masks[k] for k in match.members],
                'flippable': match.flippable,
            }
            for match in make_referring(rng, scene.objects, frozenset(annotated))
        ],
    }
    if split == 'train':
        record['odvg'] = _odvg_records(rng, scene, image, masks)
    return record


def _file_name(number: int) -> str:
    return f'{number:06d}.jpg'


def _image_entry(scene: Scene, split: str, number: int) -> dict[str, Any]:
    height, width = scene.image.shape[:2]
    return {'id': _ID_OFFSET[split] + number, 'file_name': _file_name(number), 'height': height, 'width': width}


def _image_keys(image: dict[str, Any]) -> dict[str, Any]:
    """The keys by which line-wise records point to their picture."""
    return {
        'image_id': image['id'],
        'filename': image['file_name'],
        'height': image['height'],
        'width': image['width'],
    }


def _annotation(scene: Scene, index: int, image_id: int, mask: dict[str, Any]) -> dict[str, Any]:
    item = scene.objects[index]
    x1, y1, x2, y2 = item.box
    return {
        'image_id': image_id,
        'category_id': CATEGORIES.index(f'{item.colour} {item.shape}') + 1,
        'bbox': [x1, y1, x2 - x1, y2 - y1],
        'area': int(item.mask.sum()),
        'iscrowd': 0,
        'segmentation': mask,
        'attributes': {'size': item.size, 'texture': item.texture},
    }


def _odvg_records(rng: np.random.Generator, scene: Scene, image: dict[str, Any], masks: list[dict]) -> list[dict]:
    """One detection record under a random class list and, for most scenes, one grounding record."""
    vocabulary = str(rng.choice(list(VOCABULARIES), p=_VOCABULARY_SHARE))
    instances = []
    for item, mask in zip(scene.objects, masks, strict=True):
        category = {
            'colour_shape': Description(colour=item.colour, shape=item.shape),
            'shape': Description(shape=item.shape),
            'colour': Description(colour=item.colour),
        }[vocabulary].words()
        instances.append(
            {
                'bbox': list(item.box),
                'label': VOCABULARIES[vocabulary].index(category),
                'category': category,
                'mask': mask,
            }
        )
    records = [{**_image_keys(image), 'vocabulary': vocabulary, 'detection': {'instances': instances}}]
    if rng.random() < _GROUNDING_SHARE:
        records.append(_grounding_record(scene, image, make_grounding(rng, scene.objects), masks))
    return records


def _grounding_record(
    scene: Scene, image: dict[str, Any], grounding: Grounding, masks: list[dict] | None = None
) -> dict[str, Any]:
    regions = []
    for phrase, spans, members in grounding.phrases:
        boxes, one = [list(scene.objects[k].box) for k in members], len(members) == 1
        region = {
            'bbox': boxes[0] if one else boxes,
            'phrase': phrase,
            'tokens_positive': [list(span) for span in spans],
        }
        if masks is not None:
            region['mask'] = masks[members[0]] if one else [masks[k] for k in members]
        regions.append(region)
    return {**_image_keys(image), 'grounding': {'caption': grounding.caption, 'regions': regions}}


def _add_grounding(
    root: Path, counts: dict[str, int], seed: int, workers: int, progress: Callable[[int, int], None] | None
) -> None:
    """Draws the scenes of splits without ``grounding_<split>.jsonl`` again and writes that file, in one move."""
    folder = root / 'annotations'
    lacking = [split for split in counts if not (folder / f'grounding_{split}.jsonl').exists()]
    done, total = 0, sum(counts[split] for split in lacking)
    for split in lacking:
        lines: list[dict[str, Any]] = []
        for records in _map_scenes(partial(_ground_scene, seed, split), counts[split], workers):
            lines += records
            done += 1
            if progress is not None:
                progress(done, total)
        told = json.loads((folder / f'captions_{split}.json').read_text())['annotations']
        if [entry['caption'] for entry in told] != [line['grounding']['caption'] for line in lines]:
            raise FileExistsError(
                f'"{folder}/captions_{split}.json" does not hold the captions of its recipe, so their boxes are not '
                'known. It was changed: render the data into another folder.'
            )
        half_done = folder / f'.grounding_{split}-{os.getpid()}.jsonl'  # runs may be reading this folder
        _write_lines(half_done, _number_captions(lines))
        half_done.replace(folder / f'grounding_{split}.jsonl')


def _ground_scene(seed: int, split: str, number: int) -> list[dict[str, Any]]:
    """The captions of scene ``number`` with their boxes, as ``_render_scene`` makes them."""
    scene = draw_scene(seed, split, number)
    captions = make_grounded_captions(scene_rng(seed, split, number, _TEXT_STREAM), scene.objects)
    image = _image_entry(scene, split, number)
    return [_grounding_record(scene, image, grounding) for grounding in captions]


def _number_captions(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds the id that each caption has in ``captions_<split>.json``."""
    return [{'caption_id': number, **line} for number, line in enumerate(lines, start=1)]


def _encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) bool -> COCO run lengths. Polygons would lose holes and shift edges by up to a pixel."""
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {'size': [int(v) for v in code['size']], 'counts': code['counts'].decode('ascii')}


def _write_split(folder: Path, split: str, records: list[dict[str, Any]]) -> None:
    """Numbers annotations, captions, questions and phrases in scene order; writes the files of one split."""
    images = [record['image'] for record in records]
    annotations, captions, questions, answers, referring = [], [], [], [], []
    for record in records:
        image_id = record['image']['id']
        first_id = len(annotations) + 1
        annotations += [{'id': first_id + k, **entry} for k, entry in enumerate(record['annotations'])]
        for text in record['captions']:
            captions.append({'id': len(captions) + 1, 'image_id': image_id, 'caption': text})
        for k, question in enumerate(record['questions']):
            keys = {'image_id': image_id, 'question_id': image_id * 100 + k}
            questions.append({**keys, 'question': question['text'], 'flippable': question['flippable']})
            answers.append(
                {
                    **keys,
                    'question_type': question['question_type'],
                    'answer_type': question['answer_type'],
                    'multiple_choice_answer': question['answer'],
                    'answers': [
                        {'answer': question['answer'], 'answer_confidence': 'yes', 'answer_id': n} for n in range(1, 11)
                    ],
                }
            )
        for phrase in record['referring']:
            ann_ids = [first_id + k for k in phrase.pop('members')]
            referring.append({'phrase_id': len(referring) + 1, **phrase, 'ann_ids': ann_ids})
    named = range(len(SEEN), len(CATEGORIES)) if split == 'zero_shot' else range(len(SEEN))
    info = {'description': 'shapes: rendered scenes', 'version': str(GENERATOR_VERSION)}
    _write_json(
        folder / f'{split}.json',
        {
            'info': info,
            'images': images,
            'annotations': annotations,
            'categories': [{'id': k + 1, 'name': CATEGORIES[k]} for k in named],
        },
    )
    _write_json(folder / f'captions_{split}.json', {'info': info, 'images': images, 'annotations': captions})
    vqa = {'info': info, 'data_type': 'shapes', 'data_subtype': split}
    _write_json(folder / f'questions_{split}.json', {**vqa, 'task_type': 'Open-Ended', 'questions': questions})
    _write_json(folder / f'answers_{split}.json', {**vqa, 'annotations': answers})
    _write_lines(folder / f'referring_{split}.jsonl', referring)
    grounding = [line for record in records for line in record['grounding']]
    _write_lines(folder / f'grounding_{split}.jsonl', _number_captions(grounding))
    if split == 'train':
        _write_lines(folder / 'train_odvg.jsonl', [line for record in records for line in record['odvg']])


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(',', ':')) + '\n')


def _write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text(''.join(json.dumps(record, separators=(',', ':')) + '\n' for record in records))
