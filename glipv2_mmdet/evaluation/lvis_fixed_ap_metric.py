"""LVIS: standard AP and fixed AP of boxes and masks from one pass over the data.

    val_evaluator = dict(type='GroundedLVISMetric', ann_file='data/coco/annotations/lvis_v1_minival.json',
                         metric=['bbox', 'segm'])

Standard AP takes the best 300 detections of an image. Fixed AP (Dave et al., "Evaluating Large-Vocabulary Object
Detectors: The Devil is in the Details", 2021, section 4) has no limit per image: it takes the best 10,000 detections
of a *class* over the whole data set, so that classes do not compete for places. The two differ by several points.
Matching, averaging and the federated rules (an image only counts for classes that it was annotated for) are those of
the ``lvis`` package, with which the figures agree to the last digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmdet.structures.mask import encode_mask_results
from mmengine.dist import broadcast_object_list, collect_results, get_world_size, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_local_path
from mmengine.logging import MMLogger

from glipv2_mmdet.compat.lvis_numpy import provide_numpy_float
from glipv2_mmdet.datasets.category_names import describe_missing, join_names
from glipv2_mmdet.datasets.record_checks import reading
from glipv2_mmdet.evaluation.lvis_detections import ClassDetections, Detection, join
from glipv2_mmdet.evaluation.phrasecut_metric import as_array

try:
    from lvis import LVIS, LVISEval, LVISResults
except ImportError:  # an optional extra
    LVIS = None

provide_numpy_float()

#: Of the package's figures: all, per IoU, per size, per frequency of the class (rare, common, frequent).
FIGURES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')
#: The package keeps an entry for every (image, class) pair; with 1,203 classes at once, gigabytes of them.
_CLASSES_AT_ONCE = 100
_FIELDS = (
    'Expected the json of LVIS v1: images with neg_category_ids, annotations and categories. Download the file again.'
)


@METRICS.register_module()
class GroundedLVISMetric(BaseMetric):
    """Standard and fixed AP on LVIS v1, as fractions; -1 for a group of classes without an object.

    Keys: ``lvis/bbox_AP``, ``lvis/bbox_APr``, ... and ``lvis/bbox_fixed_AP``, ..., the same with ``segm``.

    Memory is bounded: per class the scores of at most twice ``max_per_class`` detections, and boxes and masks of
    those alone that an image was annotated for. A padded last batch of a distributed run counts once.

    Args:
        ann_file: LVIS json with the ground truth. Labels follow the class names of the data set, which are joined with
            its categories by name; without a data set, label k is the k-th category.
        metric: ``'bbox'``, ``'segm'`` or both.
        max_per_image: detections of an image that standard AP looks at.
        max_per_class: detections of a class that fixed AP looks at.
        collect_device: as in mmengine.
        prefix: as in mmengine.
        backend_args: as in mmengine, how ``ann_file`` is read.

    Raises:
        ImportError: the ``lvis`` package is missing.
        FileNotFoundError: there is no such file.
        ValueError: another ``metric``, or a file that is none of LVIS.
        CategoryNameError: on evaluating, class names that do not fit the file.
    """

    default_prefix = 'lvis'

    def __init__(
        self,
        ann_file: str,
        metric: str | Sequence[str] = 'bbox',
        max_per_image: int = 300,
        max_per_class: int = 10_000,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        backend_args: dict | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if LVIS is None:
            raise ImportError("LVIS is evaluated by the 'lvis' package, which is not installed: pip install lvis")
        self.kinds = (metric,) if isinstance(metric, str) else tuple(metric)
        if not self.kinds or not set(self.kinds) <= {'bbox', 'segm'}:
            raise ValueError(f"metric is {metric!r}; expected 'bbox', 'segm' or a list of both.")
        with reading(ann_file, ValueError, _FIELDS), get_local_path(ann_file, backend_args=backend_args) as path:
            self.ground_truth = LVIS(path)
            self._annotated = {
                image: {*row['neg_category_ids'], *(box['category_id'] for box in self.ground_truth.img_ann_map[image])}
                for image, row in self.ground_truth.imgs.items()
            }
            self.category_ids = self.ground_truth.get_cat_ids()
        self.ann_file = ann_file
        self.max_per_image, self.max_per_class = max_per_image, max_per_class
        self._classes: dict[int, ClassDetections] = {}
        self._by_label: tuple[int | None, ...] | None = None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Adds the detections of a batch to those of their classes."""
        for sample in data_samples:
            self._add(sample['img_id'], sample['pred_instances'])

    def evaluate(self, size: int) -> dict[str, float]:
        """Figures over all ranks; starts afresh afterwards.

        Args:
            size: number of images; padding is recognised by the image ids instead.
        """
        parts = collect_results([self._classes], get_world_size(), self.collect_device)
        figures = [None]
        if is_main_process():
            prefix = f'{self.prefix}/' if self.prefix else ''
            figures = [{f'{prefix}{name}': value for name, value in self.compute_metrics(parts).items()}]
        broadcast_object_list(figures)
        self._classes = {}
        return figures[0]

    def compute_metrics(self, results: list[dict[int, ClassDetections]]) -> dict[str, float]:
        """Both APs of every kind.

        Args:
            results: detections by category, of each rank.
        """
        classes = join(results, self.max_per_class)
        fixed = [row for kept in classes.values() for row in kept.best()]
        standard = [row for kept in classes.values() for row in kept.best_of_images()]
        figures = {}
        for kind in self.kinds:
            for name, rows, limit in ((f'{kind}', standard, self.max_per_image), (f'{kind}_fixed', fixed, -1)):
                found = self._evaluate(rows, kind, limit)
                MMLogger.get_current_instance().info(
                    f'LVIS {name}: ' + ', '.join(f'{key} {value:.3f}' for key, value in found.items())
                )
                figures |= {f'{name}_{key}': value for key, value in found.items()}
        return figures

    def _add(self, image_id: int, found: dict[str, Any]) -> None:
        scores, labels = as_array(found['scores']).astype(np.float64), as_array(found['labels'])
        boxes = as_array(found['bboxes']).astype(np.float64)
        if image_id not in self._annotated:
            raise ValueError(f'Image {image_id} is not in {self.ann_file}. Use the same file for data set and metric.')
        if 'segm' in self.kinds and 'masks' not in found:
            raise ValueError(
                f"Predictions of image {image_id} have no masks, which metric 'segm' needs. Evaluate a "
                "model with a mask_head, or ask for metric='bbox'."
            )
        by_label = self._categories_by_label()
        if len(labels) > 0 and labels.max() >= len(by_label):
            raise ValueError(
                f'Image {image_id} has label {labels.max()}, {self.ann_file} has '
                f'{len(by_label)} categories. Use the same file for data set and metric.'
            )
        order = np.argsort(-scores, kind='stable')
        in_image_limit = np.zeros(len(scores), dtype=bool)
        in_image_limit[order[: self.max_per_image]] = True
        for label in np.unique(labels).tolist():
            category = by_label[label]
            if category is None:  # no category of the file: nothing to find, nothing that is wrong
                continue
            rows = np.flatnonzero(labels == label)
            kept = self._classes.setdefault(category, ClassDetections(self.max_per_class))
            detections = None
            if category in self._annotated[image_id]:
                detections = [
                    Detection(
                        image_id,
                        category,
                        scores[row],
                        _xywh(boxes[row]),
                        self._mask(found, row),
                        bool(in_image_limit[row]),
                    )
                    for row in rows.tolist()
                ]
            kept.add(image_id, rows, scores[rows], detections)

    def _categories_by_label(self) -> tuple[int | None, ...]:
        """Category id of each label; None for a class that the file lacks."""
        if self._by_label is None:
            names = (self.dataset_meta or {}).get('classes')
            if names is None:
                self._by_label = tuple(self.category_ids)
            else:
                given = {key: category['name'] for key, category in self.ground_truth.cats.items()}
                joined = join_names(names, given, self.ann_file)
                if joined.missing:
                    text = describe_missing(joined.missing, names, list(given.values()), self.ann_file)
                    MMLogger.get_current_instance().warning(text)
                self._by_label = joined.ids
        return self._by_label

    def _mask(self, found: dict[str, Any], row: int) -> dict | None:
        if 'segm' not in self.kinds:
            return None
        mask = found['masks'][row]
        return mask if isinstance(mask, dict) else encode_mask_results([as_array(mask)])[0]

    def _evaluate(self, rows: list[Detection], kind: str, limit: int) -> dict[str, float]:
        """The package's figures for given detections, worked out class by class."""
        # the package does not read an empty list
        rows = [row.as_result(kind) for row in rows] or [_nothing(self.ground_truth, kind)]
        results = LVISResults(self.ground_truth, rows, max_dets=-1)
        whole = LVISEval(self.ground_truth, results, kind)
        categories = whole.params.cat_ids
        precisions, recalls = [], []
        for start in range(0, len(categories), _CLASSES_AT_ONCE):
            part = LVISEval(self.ground_truth, results, kind)
            part.params.cat_ids = categories[start : start + _CLASSES_AT_ONCE]
            part.evaluate()
            part.accumulate()
            precisions.append(part.eval['precision'])
            recalls.append(part.eval['recall'])
        whole.params.max_dets = limit
        whole.freq_groups = whole._prepare_freq_group()
        # (IoU, recall, class, size) and (IoU, class, size)
        whole.eval = dict(precision=np.concatenate(precisions, axis=2), recall=np.concatenate(recalls, axis=1))
        whole.summarize()
        return {name: float(whole.results[name]) for name in FIGURES}


def _xywh(box: np.ndarray) -> list[float]:
    left, top, right, bottom = box.tolist()
    return [left, top, right - left, bottom - top]


def _nothing(ground_truth: Any, kind: str) -> dict[str, Any]:
    """A detection without area, which the package leaves out."""
    image = next(iter(ground_truth.imgs.values()))
    empty = np.zeros((image['height'], image['width']), dtype=bool)
    row = Detection(image['id'], ground_truth.get_cat_ids()[0], 0.0, [0.0] * 4, encode_mask_results([empty])[0], True)
    return row.as_result(kind)
