"""Captioning: BLEU, METEOR, ROUGE-L, CIDEr and SPICE by the official package, exactly one caption per image.

    val_evaluator = dict(type='CaptionMetric', ann_file='data/coco/annotations/dataset_coco.json', splits=('val',))

mmdet's ``COCOCaptionMetric`` needs a COCO file of the references and every scorer at once, and keeps the first of two
captions of an image.
"""

from __future__ import annotations

import importlib.util
import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmdet.registry import METRICS as REGISTRY
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from glipv2_mmdet.datasets.caption_files import read_caption_file
from glipv2_mmdet.evaluation.caption_scores import METRICS, score_captions


@REGISTRY.register_module()
class CaptionMetric(BaseMetric):
    """Scores ``pred_caption`` of every image against the captions of the annotation file.

    Figures are as the official package gives them: fractions (papers print them times 100), CIDEr from 0 to 10. CIDEr
    weighs words by how rare they are among the evaluated references, so it says little on small sets. A scorer that
    cannot run (no Java; SPICE without its models, which are never downloaded here) is named with the reason in the
    log, and its figures are absent. ``official_words`` is 0 where the words were not cut by the official tokeniser,
    which needs Java; such figures must not be published as they are. ``exact_match`` is the share of captions that
    equal a reference in all words.

    Args:
        ann_file: captions in any layout that ``CocoCaption`` reads.
        splits: parts of a Karpathy file; other files are one split each. Must be those of the data set.
        metrics: which of 'BLEU', 'METEOR', 'ROUGE_L', 'CIDEr', 'SPICE' to run.
        outfile: write the captions here too, as ``[{"image_id", "caption"}, ...]``, what COCO's server takes.
        backend_args: as in mmengine.
        collect_device: as in mmengine.
        prefix: as in mmengine.

    Raises:
        ImportError: pycocoevalcap is not installed.
        ValueError: an unknown metric; when computing, an image with two captions, without one, or without references.
    """

    default_prefix = 'caption'

    def __init__(
        self,
        ann_file: str,
        splits: Sequence[str] | None = None,
        metrics: Sequence[str] = METRICS,
        outfile: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if importlib.util.find_spec('pycocoevalcap') is None:
            raise ImportError("CaptionMetric needs pycocoevalcap. Install it: pip install 'glipv2_mmdet[caption]'.")
        unknown = [name for name in metrics if name not in METRICS]
        if unknown:
            raise ValueError(
                f'Metric {unknown[0]!r} is unknown; expected some of {", ".join(METRICS)}. Correct "metrics".'
            )
        self.metrics = tuple(metrics)
        self.outfile = outfile
        self.ann_file = ann_file
        content = read_caption_file(ann_file, splits, backend_args)
        self.references = {image.image_id: image.captions for image in content.images if image.captions}
        self.num_silent = len(content.images) - len(self.references)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps (image id, caption) of every image; ``pred_caption`` is a text or has one in its field ``text``."""
        for sample in data_samples:
            caption = sample['pred_caption']
            self.results.append((sample['img_id'], caption if isinstance(caption, str) else caption.text))

    def compute_metrics(self, results: list[tuple[int | str, str]]) -> dict[str, float]:
        """All figures that could be measured; the log names the others."""
        captions = dict(results)
        if self.num_silent:  # without a reference there is nothing to compare with
            known = self.references.keys()
            results = [result for result in results if result[0] in known]
        self._check(results)
        if self.outfile is not None:
            entries = [dict(image_id=key, caption=text) for key, text in captions.items()]
            Path(self.outfile).parent.mkdir(parents=True, exist_ok=True)
            Path(self.outfile).write_text(json.dumps(entries))
        scores = score_captions(dict(results), self.references, self.metrics)
        logger = MMLogger.get_current_instance()
        for metric, reason in scores.skipped.items():
            logger.warning(f'{metric} was not measured: {reason}.')
        if scores.not_official is not None:
            logger.log(
                logging.WARNING,
                f'Words were cut without the official tokeniser ({scores.not_official}): these '
                'figures are near the official ones, not equal. Install Java for official ones.',
            )
        return {**scores.figures, 'official_words': float(scores.not_official is None)}

    def _check(self, results: list[tuple[int | str, str]]) -> None:
        counts = Counter(key for key, _ in results)
        for found, what in (
            ([key for key, count in counts.items() if count > 1], 'have more than one caption'),
            ([key for key in self.references if key not in counts], 'have no caption'),
            ([key for key in counts if key not in self.references], f'are not in {self.ann_file}'),
        ):
            if found:
                raise ValueError(
                    f'{len(found)} images {what}: {", ".join(map(str, found[:5]))}{", ..." if len(found) > 5 else ""}. '
                    f'Expected exactly one caption for each of the {len(self.references)} images with references. Is '
                    'the data set that of ann_file, with the same splits?'
                )
