"""Are captions of the embedded "shapes" scenes true: known exactly, because the annotation names every object.

    val_evaluator = [dict(type='CaptionMetric', ...), dict(type='ShapesCaptionTruth', ann_file='.../val.json')]

Scores that compare words punish a true caption that no reference says, and there are hundreds of true ones per scene.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_text

from glipv2_mmdet.datasets.shapes import CATEGORIES
from glipv2_mmdet.datasets.shapes_scene import COLOURS, RADII, SEEN, SHAPES, TEXTURES, SceneObject
from glipv2_mmdet.datasets.shapes_text import NUMBERS, Description

_OPENING = re.compile(r'^(?:there is|we see|a picture of) ')
_REMARK = re.compile(r'\. the (?P<words>[^.]+) is (?P<size>small|large)$')
_SEPARATOR = re.compile(r'(, | and | above | below )')
_PHRASE = re.compile(
    rf'(?:(?P<number>a|{"|".join(NUMBERS[2:])}) )?(?:(?P<size>{"|".join(RADII)}) )?'
    rf'(?:(?P<texture>{"|".join(TEXTURES)}) )?(?:(?P<colour>{"|".join(COLOURS)}) )?'
    rf'(?P<shape>{"|".join(SHAPES)}|thing)(?P<plural>s|es)?'
)


@METRICS.register_module()
class ShapesCaptionTruth(BaseMetric):
    """``true``: share of captions that hold in their scene; ``readable``: share that the grammar of the data can say.

    A caption is true when each of its phrases fits exactly as many objects as it says ('a' and no word mean one), no
    object is meant twice, and what it says about above, below and size holds: the rules that its captions are made by
    (``datasets/shapes_text.py``). One that cannot be read is not true.

    Args:
        ann_file: ``train.json`` or ``val.json`` of the shapes data. In zero-shot scenes not every object is annotated.
        collect_device: as in mmengine.
        prefix: as in mmengine.

    Raises:
        ValueError: an annotation file in which objects may be missing.
    """

    default_prefix = 'shapes'

    def __init__(self, ann_file: str, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.objects = read_objects(ann_file)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps (true, readable) of every caption; ``pred_caption`` is a text or has one in its field ``text``."""
        for sample in data_samples:
            caption = sample['pred_caption']
            truth = is_true(caption if isinstance(caption, str) else caption.text, self.objects[sample['img_id']])
            self.results.append((bool(truth), truth is not None))

    def compute_metrics(self, results: list[tuple[bool, bool]]) -> dict[str, float]:
        """Both shares."""
        true, readable = np.array(results, dtype=np.float64).mean(axis=0)
        return dict(true=float(true), readable=float(readable))


def read_objects(ann_file: str) -> dict[int, tuple[SceneObject, ...]]:
    """The objects of every scene of a shapes annotation file."""
    content = json.loads(get_text(ann_file))
    if any(category['id'] > len(SEEN) for category in content['categories']):
        raise ValueError(
            f'{ann_file}: held-out categories; expected train.json or val.json. Zero-shot scenes hold objects that are '
            'not annotated, so what is true of them is not known.'
        )
    found: dict[int, list[SceneObject]] = defaultdict(list)
    for entry in content['annotations']:
        colour, shape = CATEGORIES[entry['category_id'] - 1].split()
        x, y, width, height = entry['bbox']
        found[entry['image_id']].append(
            SceneObject(
                colour,
                shape,
                **entry['attributes'],
                mask=np.zeros((0, 0), dtype=bool),
                box=(x, y, x + width, y + height),
                visible=1.0,
            )
        )
    return {image['id']: tuple(found[image['id']]) for image in content['images']}


def is_true(caption: str, objects: tuple[SceneObject, ...]) -> bool | None:
    """Whether a caption holds; None when it is not in the language of the data."""
    body = _OPENING.sub('', ' '.join(caption.split()).removesuffix('.'))
    remark = _REMARK.search(body)
    if remark is not None:
        body = body[: remark.start()]
    parts = _SEPARATOR.split(body)
    phrases = [_read(text) for text in parts[::2]]
    links = [link.strip() for link in parts[1::2]]
    said = _read(remark['words']) if remark else None
    if None in phrases or (remark and said is None) or {'above', 'below'} & set(links[1:]):
        return None
    groups = [description.find(objects) for description, _ in phrases]
    if any(len(members) != number for members, (_, number) in zip(groups, phrases, strict=True)):
        return False
    everything = [member for members in groups for member in members]
    if len(set(everything)) != len(everything):
        return False
    if links and links[0] in ('above', 'below'):
        upper, lower = groups[:2] if links[0] == 'above' else groups[1::-1]
        if len(upper) != 1 or len(lower) != 1 or objects[upper[0]].box[3] > objects[lower[0]].box[1]:
            return False
    if said is not None:
        members = said[0].find(objects)
        return said[1] == len(members) == 1 and objects[members[0]].size == remark['size']
    return True


def _read(phrase: str) -> tuple[Description, int] | None:
    """What a phrase names and how many of it it says."""
    match = _PHRASE.fullmatch(phrase)
    if match is None:
        return None
    number = 1 if match['number'] in (None, 'a') else NUMBERS.index(match['number'])
    shape = None if match['shape'] == 'thing' else match['shape']
    description = Description(match['size'], match['texture'], match['colour'], shape)
    # 'two circle', 'a circles' and 'crosss' are no words of the language
    words = description.words(plural=number > 1)
    return (description, number) if phrase.endswith(words) and (number > 1) == (match['plural'] is not None) else None
