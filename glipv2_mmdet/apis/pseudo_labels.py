"""Captions to boxes, shard by shard: how Cap4M, CC and SBU become training data.

A grounding model looks for the noun phrases of each caption; what it finds with enough confidence is written as an ODVG
record. A shard is the unit of work and of resuming: its output gets its name when it is complete and on the disk, and
depends on nothing but the shard and the model, so killing and repeating a run changes no byte.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import print_log
from torch import nn

from glipv2_mmdet.apis.caption_shards import BadRecord, Pair, read_pairs
from glipv2_mmdet.datasets.image_text_stream import import_webdataset, write_pair
from glipv2_mmdet.files import atomic_write
from glipv2_mmdet.image_decoding import decode_rgb
from glipv2_mmdet.image_reading import ImageInputError
from glipv2_mmdet.models.checked_nms import checked_nms
from glipv2_mmdet.text import find_noun_phrases

#: Skipped records of each kind that the log names.
NUM_NAMED = 20


@dataclass(frozen=True)
class LabelSettings:
    """How captions are labelled.

    Args:
        score_thr: boxes must score more. 0.5 is GLIP's.
        nms_iou: boxes of one phrase that overlap more are dropped again (the model's own NMS comes first); 0 is off.
        batch_size: images per step of the model.
        noun_phrases: backend of ``find_noun_phrases``. Fixed by default, so that machines agree.
        output: 'odvg' (jsonl) or 'webdataset' (tar with the images).

    Raises:
        ValueError: a value out of range.
    """

    score_thr: float = 0.5
    nms_iou: float = 0.0
    batch_size: int = 4
    noun_phrases: str = 'rules'
    output: str = 'odvg'

    def __post_init__(self) -> None:
        if not 0 <= self.score_thr < 1 or not 0 <= self.nms_iou < 1 or self.batch_size < 1:
            raise ValueError(f'{self}: expected score_thr and nms_iou from 0 to below 1, and a batch_size from 1.')
        if self.output not in ('odvg', 'webdataset'):
            raise ValueError(f"Output is '{self.output}'; expected 'odvg' or 'webdataset'.")


def label_shards(
    model: nn.Module,
    pipeline: Sequence[dict],
    shards: Sequence[str | Path],
    out_dir: str | Path,
    image_root: str | Path = '',
    settings: LabelSettings = LabelSettings(),
    rank: int = 0,
    world_size: int = 1,
) -> Counter[str]:
    """Labels the shards of one process that are not labelled yet.

    Args:
        model: grounding detector in eval mode.
        pipeline: its test pipeline, without the step that loads the image.
        shards: all shards of the run, the same in every process: ``.jsonl`` with ``{"filename", "caption"}`` per line,
            or ``.tar`` (WebDataset: an image with ``.txt``, or ``.json`` with "caption").
        out_dir: one output per shard, named after it.
        image_root: folder of the images of jsonl shards.
        settings: see :class:`LabelSettings`.
        rank, world_size: this process labels every ``world_size``-th shard, starting with ``rank``.

    Returns:
        Counts of this call: 'shards', 'skipped_shards', 'pairs', 'labelled', 'boxes', 'no_phrase', 'bad_records',
        'unreadable'. Bad records and unreadable images are skipped and named in the log.

    Raises:
        ValueError: two shards with the same name, which would share an output.
    """
    outputs = _output_paths(shards, Path(out_dir), settings)
    transforms = Compose(list(pipeline))
    counts: Counter[str] = Counter()
    for shard, output in list(zip(shards, outputs, strict=True))[rank::world_size]:
        if output.is_file():
            counts['skipped_shards'] += 1
            continue
        pairs = read_pairs(shard, image_root)
        labelled = _label(model, transforms, pairs, settings, counts)
        with atomic_write(output) as file:
            _write(file, labelled, settings)
        counts['shards'] += 1
        print_log(f'{output}: written. So far {dict(counts)}', logger='current')
    return counts


def _label(
    model: nn.Module,
    transforms: Compose,
    pairs: Iterable[Pair | BadRecord],
    settings: LabelSettings,
    counts: Counter[str],
) -> Iterator[tuple[Pair, dict]]:
    """(pair, ODVG record) of every pair with at least one box, in order."""
    prepared = _prepare(transforms, pairs, settings, counts)
    while batch := list(islice(prepared, settings.batch_size)):
        with torch.no_grad():
            results = model.test_step(pseudo_collate([sample for _, _, sample in batch]))
        for (pair, spans, _), result in zip(batch, results, strict=True):
            record = _record(pair, spans, result, settings)
            if record['grounding']['regions']:
                counts['labelled'] += 1
                counts['boxes'] += sum(len(region['bbox']) for region in record['grounding']['regions'])
                yield pair, record


def _prepare(
    transforms: Compose, pairs: Iterable[Pair | BadRecord], settings: LabelSettings, counts: Counter[str]
) -> Iterator[tuple[Pair, list, dict]]:
    """Pairs that can be looked at, with their spans and the input of the model."""
    for pair in pairs:
        counts['pairs'] += 1
        if isinstance(pair, BadRecord):
            _skip(pair.place, pair.reason, 'bad_records', counts)
            continue
        phrases = find_noun_phrases(pair.caption, settings.noun_phrases)
        if not phrases:
            counts['no_phrase'] += 1
            continue
        try:
            image = np.ascontiguousarray(decode_rgb(pair.image, pair.key)[..., ::-1])  # BGR, as in a pipeline
        except ImageInputError as error:
            _skip(pair.place, str(error), 'unreadable', counts)
            continue
        spans = [[list(span) for span in spans] for _, spans in phrases]
        shape = image.shape[:2]
        # the image is in memory: what LoadImageFromFile leaves, and the caption
        sample = dict(
            img=image,
            img_path=pair.key,
            img_id=pair.key,
            img_shape=shape,
            ori_shape=shape,
            height=shape[0],
            width=shape[1],
            instances=[],
            text=pair.caption,
            custom_entities=False,
            tokens_positive=spans,
        )
        try:
            prepared = transforms(sample)
        except cv2.error as error:  # so narrow that scaling leaves no pixel
            _skip(pair.place, f'{shape[1]} x {shape[0]} pixels cannot be scaled ({error})', 'unreadable', counts)
            continue
        yield pair, spans, prepared


def _skip(place: str, reason: str, kind: str, counts: Counter[str]) -> None:
    """Count a record that is left out, and name it in the log while there are few."""
    counts[kind] += 1
    if counts[kind] <= NUM_NAMED:
        more = ' Further ones are counted only.' if counts[kind] == NUM_NAMED else ''
        print_log(f'{place} is skipped: {reason}{more}', logger='current', level=logging.WARNING)


def _record(pair: Pair, spans: list, result, settings: LabelSettings) -> dict:
    """The ODVG record; boxes by phrase, best first, rounded to a hundredth of a pixel."""
    found = result.pred_instances.cpu()
    found = found[found.scores > settings.score_thr]
    if settings.nms_iou and len(found):
        _, kept = checked_nms(
            found.bboxes, found.scores, found.labels, dict(type='nms', iou_threshold=settings.nms_iou)
        )
        found = found[kept]
    height, width = result.ori_shape[:2]
    boxes = found.bboxes.numpy().clip(0, np.array([width, height, width, height], dtype=np.float32))
    usable = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1)
    regions = []
    for phrase, phrase_spans in enumerate(spans):
        mine = np.flatnonzero((found.labels.numpy() == phrase) & usable)
        mine = mine[np.argsort(-found.scores.numpy()[mine], kind='stable')]
        if len(mine):
            regions.append(
                dict(
                    bbox=[[round(float(edge), 2) for edge in boxes[k]] for k in mine],
                    score=[round(float(found.scores[k]), 4) for k in mine],
                    phrase=' / '.join(pair.caption[start:end] for start, end in phrase_spans),
                    tokens_positive=phrase_spans,
                )
            )
    return dict(filename=pair.key, height=height, width=width, grounding=dict(caption=pair.caption, regions=regions))


def _write(file, labelled: Iterable[tuple[Pair, dict]], settings: LabelSettings) -> None:
    if settings.output == 'odvg':
        for _, record in labelled:
            file.write(json.dumps(record, ensure_ascii=False).encode() + b'\n')
        return
    # a fixed time stamp: the same shard gives the same bytes whenever it is made
    with import_webdataset().TarWriter(file, mtime=0) as writer:
        for number, (pair, record) in enumerate(labelled):
            write_pair(writer, f'{number:08d}', pair.image, record)


def _output_paths(shards: Sequence[str | Path], out_dir: Path, settings: LabelSettings) -> list[Path]:
    suffix = 'jsonl' if settings.output == 'odvg' else 'tar'
    paths = [out_dir / f'{Path(shard).stem}.{suffix}' for shard in shards]
    twice = [path.name for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise ValueError(
            f'Several shards would be written to "{twice[0]}"; expected shards with different names. '
            'Rename them, or label them into different folders.'
        )
    return paths
