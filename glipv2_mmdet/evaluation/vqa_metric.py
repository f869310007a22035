"""Answers to questions: official accuracy per kind of question, and the file that the evaluation server takes.

    val_evaluator = dict(type='VQAMetric', baseline_ann_file='data/vqav2/v2_mscoco_train2014_annotations.json')

List ``'question_id'``, ``'gt_answers'``, ``'question_type'`` and ``'answer_type'`` in the ``meta_keys`` of
``PackDetInputs``. Source: VQA v2 (Goyal et al., 2017) and its public evaluation.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_text
from mmengine.logging import MMLogger

from glipv2_mmdet.evaluation.vqa_answers import EVALUATORS, check_evaluator, majority_answers, vqa_accuracy

#: Figures of the baseline are named after those of the model.
BASELINE = 'baseline_'


@METRICS.register_module()
class VQAMetric(BaseMetric):
    """Mean official accuracy, as fractions: ``accuracy``, ``answer_type/<type>``, ``question_type/<type>``.

    Accuracy leaves out one of ten annotators at a time, see
    :func:`~glipv2_mmdet.evaluation.vqa_answers.vqa_accuracy`. The figure ``evaluator`` says by which version of the
    official rule it was computed (2021 or 2017).

    Args:
        evaluator: version of the official rule: '2021' (since March 2021) or '2017' (before, as in older papers).
        outfile_prefix: writes ``<prefix>_results.json``, one ``{"question_id", "answer"}`` per question in the order
            of their ids. The server's convention is ``vqa_OpenEnded_mscoco_test2015_<model>_results.json``.
        format_only: writes the file and computes nothing; for questions without annotations.
        baseline_ann_file: annotations of the training split. Adds ``baseline_...`` figures: the accuracy of always
            giving the most frequent training answer of the question's type, without a look at the image.
        collect_device: as in mmengine.
        prefix: as in mmengine.

    Raises:
        ValueError: an unknown ``evaluator``, ``format_only`` without ``outfile_prefix``, or together with a baseline.
    """

    default_prefix = 'vqa'

    def __init__(
        self,
        outfile_prefix: str | None = None,
        format_only: bool = False,
        baseline_ann_file: str | None = None,
        evaluator: str = EVALUATORS[0],
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_evaluator(evaluator)
        if format_only and outfile_prefix is None:
            raise ValueError(
                'format_only=True came without outfile_prefix, so nothing would be written. Set '
                "outfile_prefix='vqa_OpenEnded_mscoco_test2015_<model>'."
            )
        if format_only and baseline_ann_file is not None:
            raise ValueError(
                'format_only=True computes no accuracy, and baseline_ann_file is for comparing it. Drop one of them.'
            )
        self.outfile_prefix = outfile_prefix
        self.format_only = format_only
        self.baseline_ann_file = baseline_ann_file
        self.evaluator = evaluator

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps each question's best answer and what people said."""
        for sample in data_samples:
            if 'pred_answers' not in sample:
                raise ValueError(
                    f'Sample of question {sample.get("question_id")} has no pred_answers. Evaluate a '
                    'model with a vqa_head.'
                )
            self.results.append(
                dict(
                    question_id=sample['question_id'],
                    answer=sample['pred_answers'].best,
                    gt_answers=sample.get('gt_answers'),
                    question_type=sample.get('question_type'),
                    answer_type=sample.get('answer_type'),
                )
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """All figures; none with ``format_only``.

        Raises:
            ValueError: a question without annotated answers.
        """
        if self.outfile_prefix is not None:
            self._write(results)
        if self.format_only:
            return {}
        unknown = [result['question_id'] for result in results if not result['gt_answers']]
        if unknown:
            raise ValueError(
                f'{len(unknown)} of {len(results)} questions have no annotated answers, for example '
                f'question {unknown[0]}. List "gt_answers" in the meta_keys of PackDetInputs, or set '
                'format_only=True for a split without annotations.'
            )
        figures = _accuracies(results, [result['answer'] for result in results], self.evaluator)
        baseline = {}
        if self.baseline_ann_file is not None:
            common = _training_majority(self.baseline_ann_file)
            answers = [common.get(result['question_type'], common['']) for result in results]
            baseline = _accuracies(results, answers, self.evaluator)
        MMLogger.get_current_instance().info(
            f'VQA accuracy by the official evaluator of {self.evaluator}\n' + _table(figures, baseline, results)
        )
        named = figures | {BASELINE + name: value for name, value in baseline.items()}
        return named | {'evaluator': int(self.evaluator)}

    def _write(self, results: list[dict]) -> None:
        path = Path(f'{self.outfile_prefix}_results.json')
        answers = {result['question_id']: result['answer'] for result in results}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps([dict(question_id=question, answer=answers[question]) for question in sorted(answers)]),
            encoding='utf-8',
        )
        MMLogger.get_current_instance().info(f'{path}: answers to {len(answers)} questions')


def _accuracies(results: Sequence[dict], answers: Sequence[str], evaluator: str) -> dict[str, float]:
    """Mean accuracy over all questions and over those of each type."""
    scores: dict[str, list[float]] = defaultdict(list)
    for result, answer in zip(results, answers, strict=True):
        score = vqa_accuracy(answer, result['gt_answers'], evaluator)
        for name in _groups(result):
            scores[name].append(score)
    return {name: float(np.mean(scores[name])) for name in sorted(scores)}


def _groups(result: Mapping) -> list[str]:
    """Names of the figures a question counts for."""
    return [
        'accuracy',
        *(f'{kind}/{result[kind]}' for kind in ('answer_type', 'question_type') if result[kind] is not None),
    ]


def _training_majority(path: str) -> Mapping[str, str]:
    annotations = json.loads(get_text(path))['annotations']
    return majority_answers([(entry['question_type'], entry['multiple_choice_answer']) for entry in annotations])


def _table(figures: Mapping[str, float], baseline: Mapping[str, float], results: Sequence[dict]) -> str:
    """One line per figure: questions, accuracy, and that of the baseline."""
    counts = Counter(name for result in results for name in _groups(result))
    lines = [f'{"":32}{"questions":>10}{"accuracy":>10}' + f'{"baseline":>10}' * bool(baseline)]
    for name, value in figures.items():
        extra = f'{baseline[name]:10.3f}' if baseline else ''
        lines.append(f'{name:32}{counts[name]:10}{value:10.3f}{extra}')
    return '\n'.join(lines)
