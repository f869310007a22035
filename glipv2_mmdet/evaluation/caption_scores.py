"""Runs the scorers of pycocoevalcap one by one, so that one that cannot run takes no other with it.

Its own ``COCOEvalCap`` builds all five at once: without Java, or without the models that SPICE would download at its
first use, there is no figure at all.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glipv2_mmdet.evaluation.caption_tokenize import OfficialTokenizerError, tokenize_official, tokenize_plain

#: metric -> (module and class in pycocoevalcap, names of its figures)
SCORERS = {
    'BLEU': ('bleu.bleu', 'Bleu', ('Bleu_1', 'Bleu_2', 'Bleu_3', 'Bleu_4')),
    'METEOR': ('meteor.meteor', 'Meteor', ('METEOR',)),
    'ROUGE_L': ('rouge.rouge', 'Rouge', ('ROUGE_L',)),
    'CIDEr': ('cider.cider', 'Cider', ('CIDEr',)),
    'SPICE': ('spice.spice', 'Spice', ('SPICE',)),
}
METRICS = tuple(SCORERS)
_JAVA = ('METEOR', 'SPICE')
_SPICE_MODELS = ('stanford-corenlp-3.6.0.jar', 'stanford-corenlp-3.6.0-models.jar')
_FAILURES = (OSError, ValueError, KeyError, IndexError, AssertionError, ImportError, subprocess.SubprocessError)


@dataclass(frozen=True)
class CaptionScores:
    """What was measured, and what could not be.

    Attributes:
        figures: as the official package gives them: fractions, CIDEr from 0 to 10.
        skipped: metric -> why it could not run.
        not_official: why the words are not those of the official tokeniser; None when they are.
    """

    figures: dict[str, float]
    skipped: dict[str, str] = field(default_factory=dict)
    not_official: str | None = None


def score_captions(
    candidates: Mapping[Hashable, str], references: Mapping[Hashable, Sequence[str]], metrics: Sequence[str] = METRICS
) -> CaptionScores:
    """Tokenises and scores; ``exact_match``, the share of candidates equal to a reference, is always there.

    Args:
        candidates: one caption per image.
        references: at least one caption for each of the same images.
        metrics: names in ``METRICS``.

    Raises:
        ValueError: other images in ``candidates`` than in ``references``, or none.
    """
    if not candidates or set(candidates) != set(references):
        raise ValueError(
            f'{len(candidates)} captions for {len(references)} images with references; expected one for each of the '
            'same images, and at least one. CaptionMetric checks it by image.'
        )
    order = sorted(candidates, key=str)
    texts = {key: [candidates[key]] for key in order}
    expected = {key: list(references[key]) for key in order}
    not_official = None
    try:
        texts, expected = tokenize_official(texts), tokenize_official(expected)
    except OfficialTokenizerError as error:
        not_official = str(error)
        texts, expected = tokenize_plain(texts), tokenize_plain(expected)
    scores = score_tokenized(texts, expected, metrics)
    return CaptionScores(scores.figures, scores.skipped, not_official)


def score_tokenized(
    candidates: Mapping[Hashable, list[str]], references: Mapping[Hashable, list[str]], metrics: Sequence[str] = METRICS
) -> CaptionScores:
    """The same for texts that are tokenised already: words joined by single blanks, one candidate in each list."""
    figures, skipped = {}, {}
    for metric in metrics:
        try:
            figures |= _run(metric, candidates, references)
        except _Skipped as reason:
            skipped[metric] = str(reason)
    figures['exact_match'] = sum(texts[0] in references[key] for key, texts in candidates.items()) / len(candidates)
    return CaptionScores(figures, skipped)


class _Skipped(RuntimeError):
    pass


def _run(
    metric: str, candidates: Mapping[Hashable, list[str]], references: Mapping[Hashable, list[str]]
) -> dict[str, float]:
    module, name, figure_names = SCORERS[metric]
    if metric in _JAVA and shutil.which('java') is None:
        raise _Skipped('no Java is installed')
    try:
        source = importlib.import_module(f'pycocoevalcap.{module}')
        if metric == 'SPICE':
            _require_spice_models(Path(source.__file__).parent / 'lib')
        value = _compute(getattr(source, name)(), candidates, references, quiet=metric == 'BLEU')
    except _FAILURES as error:
        raise _Skipped(f'{type(error).__name__}: {error}') from error
    values = value if len(figure_names) > 1 else [value]
    return {figure: float(number) for figure, number in zip(figure_names, values, strict=True)}


def _compute(scorer: Any, candidates: Mapping, references: Mapping, quiet: bool) -> Any:
    compute: Callable = scorer.compute_score
    try:
        return compute(references, candidates, verbose=0)[0] if quiet else compute(references, candidates)[0]
    finally:
        # METEOR's destructor waits for a lock that a failed run never gives back
        lock = getattr(scorer, 'lock', None)
        if lock is not None and lock.locked():
            lock.release()


def _require_spice_models(folder: Path) -> None:
    missing = [name for name in _SPICE_MODELS if not (folder / name).is_file()]
    if missing:
        raise _Skipped(
            f'"{missing[0]}" is not in {folder}, and nothing is downloaded during an evaluation; '
            'pycocoevalcap.spice.get_stanford_models.get_stanford_models() fetches it where there is a network'
        )
