"""Phrase grounding on Flickr30k Entities: is a box of the phrase among the k best boxes found for it.

    val_evaluator = dict(type='Flickr30kRecall', topk=(1, 5, 10))

The data set must hand the truth on: list ``'tokens_positive'`` and ``'instances'`` (and ``'phrase_types'``, where it
has them) in the ``meta_keys`` of ``PackDetInputs``. Beside Flickr30k itself that fits every sentence with boxes, such
as ODVG's. mmdet's ``Flickr30kMetric`` stops in merged mode, takes predictions as they come and has no types.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from mmdet.evaluation.functional import bbox_overlaps
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric

from glipv2_mmdet.datasets.odvg import GroundedODVGDataset
from glipv2_mmdet.evaluation.phrasecut_metric import as_array

PROTOCOLS = ('any', 'merged')


@METRICS.register_module()
class Flickr30kRecall(BaseMetric):
    """R@k over phrases, as fractions named ``any/R@1``, ``merged/R@1`` and so on.

    A phrase is hit at k when one of its k best boxes overlaps, by an IoU of ``iou_thr`` at least, any of its annotated
    boxes (protocol 'any', the paper's) or the box around them all ('merged'). ``upper_bound`` takes all returned
    boxes. A phrase without an annotated box does not count; one for which nothing was found is missed. The mean is
    over phrases, also per type (``any/R@1/people``) where the samples have ``phrase_types``. ``num_phrases`` says how
    many counted: about 14.5k on Flickr30k's test set.

    Args:
        topk: numbers of boxes.
        iou_thr: IoU from which a box is right.
        protocols: which of 'any' and 'merged' to report.
        collect_device: as in mmengine.
        prefix: as in mmengine.

    Raises:
        ValueError: an unknown protocol, or a sample without truth.
    """

    default_prefix = 'flickr30k'

    def __init__(
        self,
        topk: Sequence[int] = (1, 5, 10),
        iou_thr: float = 0.5,
        protocols: Sequence[str] = PROTOCOLS,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        unknown = [name for name in protocols if name not in PROTOCOLS]
        if unknown:
            raise ValueError(f'Protocol {unknown[0]!r}; expected some of {", ".join(PROTOCOLS)}. Correct "protocols".')
        self.topk = tuple(topk)
        self.iou_thr = iou_thr
        self.protocols = tuple(protocols)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps, per sample, (types, rank of the first right box per protocol) of every phrase that has a box.

        mmengine cuts what it collects to as many entries as the data set has samples: a sample is one entry.
        """
        for sample in data_samples:
            if 'instances' not in sample or 'tokens_positive' not in sample:
                raise ValueError(
                    f'Sample {sample.get("img_id")} has no "instances" or no "tokens_positive"; expected both, in '
                    'pixels of the photo. List them in the meta_keys of PackDetInputs.'
                )
            found = boxes_by_label(sample['pred_instances'])
            truth = defaultdict(list)
            for instance in sample['instances']:
                truth[instance['bbox_label']].append(instance['bbox'])
            types = sample.get('phrase_types')
            phrases = []
            for label in range(len(sample['tokens_positive'])):
                if truth[label]:
                    ranks = {
                        protocol: first_hit(found.get(label), truth[label], protocol == 'merged', self.iou_thr)
                        for protocol in self.protocols
                    }
                    phrases.append((tuple(types[label]) if types else (), ranks))
            self.results.append(phrases)

    def compute_metrics(self, results: list[list[tuple[tuple[str, ...], dict[str, float]]]]) -> dict[str, float]:
        """All figures; without a single phrase only their number."""
        results = list(chain.from_iterable(results))
        figures = {'num_phrases': len(results)}
        if not results:
            return figures
        for protocol in self.protocols:
            ranks = np.array([result[1][protocol] for result in results])
            figures |= {f'{protocol}/{name}': value for name, value in recalls(ranks, self.topk).items()}
            for kind in sorted({kind for types, _ in results for kind in types}):
                own = np.array([kind in types for types, _ in results])
                figures |= {
                    f'{protocol}/{name}/{kind}': value for name, value in recalls(ranks[own], self.topk).items()
                }
        return figures


@METRICS.register_module()
class GeneratedPhraseRecall(BaseMetric):
    """Grounding of captions that the model wrote itself: R@k over its phrases that annotators used too.

    A generated phrase is *matched* when its words equal those of a phrase that is annotated with boxes in one of the
    image's captions, upper or lower case and an article in front aside. ``matched`` is the share of such phrases,
    ``R@k`` their recall (protocol 'any'). Phrases that nobody wrote about the image say nothing here: they may be
    right. Reads ``pred_caption.phrases`` (each with a ``name``) and ``pred_instances`` whose labels
    count them.

    Args:
        ann_file: ODVG jsonl with the image's captions and boxes; ids are those of the evaluated samples.
        topk: numbers of boxes.
        iou_thr: IoU from which a box is right.
        collect_device: as in mmengine.
        prefix: as in mmengine.
    """

    default_prefix = 'generated'

    def __init__(
        self,
        ann_file: str,
        topk: Sequence[int] = (1, 5, 10),
        iou_thr: float = 0.5,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk = tuple(topk)
        self.iou_thr = iou_thr
        self.truth: dict[int | str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        for sample in GroundedODVGDataset(ann_file=ann_file, test_mode=True, serialize_data=False, pipeline=[]):
            names = [
                _plain(' '.join(sample['text'][start:end] for start, end in spans[:1]))
                for spans in sample['tokens_positive']
            ]
            for instance in sample['instances']:
                self.truth[sample['img_id']][names[instance['bbox_label']]].append(instance['bbox'])

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps, per sample, the rank of the first right box of every phrase; None for one annotators did not use."""
        for sample in data_samples:
            found = boxes_by_label(sample['pred_instances'])
            known: Mapping[str, list] = self.truth.get(sample['img_id'], {})
            annotated = [known.get(_plain(phrase.name)) for phrase in sample['pred_caption'].phrases]
            self.results.append(
                [
                    None if boxes is None else first_hit(found.get(label), boxes, False, self.iou_thr)
                    for label, boxes in enumerate(annotated)
                ]
            )

    def compute_metrics(self, results: list[list[float | None]]) -> dict[str, float]:
        """``matched``, ``num_phrases`` and, with any match, the recalls."""
        results = list(chain.from_iterable(results))
        ranks = np.array([rank for rank in results if rank is not None])
        figures = {'num_phrases': len(results), 'matched': len(ranks) / max(len(results), 1)}
        return figures | (recalls(ranks, self.topk) if len(ranks) else {})


def boxes_by_label(instances: Mapping) -> dict[int, np.ndarray]:
    """(R, 4) boxes of each label, best first; equal scores keep their order."""
    order = np.argsort(-as_array(instances['scores']), kind='stable')
    boxes, labels = as_array(instances['bboxes'])[order], as_array(instances['labels'])[order]
    return {int(label): boxes[labels == label] for label in np.unique(labels)}


def first_hit(found: np.ndarray | None, truth: Sequence[Sequence[float]], merged: bool, iou_thr: float) -> float:
    """Place (from 0) of the first found box that is right; infinite when none is."""
    if found is None:
        return np.inf
    boxes = np.array(truth, dtype=np.float64)
    if merged:
        boxes = np.concatenate((boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)))[None]
    hits = np.flatnonzero((bbox_overlaps(found, boxes) >= iou_thr).any(axis=1))
    return float(hits[0]) if len(hits) else np.inf


def recalls(ranks: np.ndarray, topk: Sequence[int]) -> dict[str, float]:
    """R@k for every k, and the upper bound, of (K,) ranks from 0."""
    figures = {f'R@{k}': float((ranks < k).mean()) for k in topk}
    return figures | {'upper_bound': float(np.isfinite(ranks).mean())}


def _plain(phrase: str) -> str:
    words = phrase.casefold().split()
    return ' '.join(words[1:] if len(words) > 1 and words[0] in ('a', 'an', 'the') else words)
