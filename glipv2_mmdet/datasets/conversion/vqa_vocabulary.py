"""The answers a VQA model chooses from, and the images its development split is about; both from official files.

Source: the usual protocol on VQA v2: answers of at least 9 questions of train2014 + val2014, which are 3,129, and a
2,000-image part of val2014 kept for validation while the rest is trained on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from glipv2_mmdet.datasets.vqa_records import VQAError, read_entries
from glipv2_mmdet.evaluation.vqa_answers import normalise_answer


def count_answers(annotation_files: Sequence[str | Path]) -> Counter[str]:
    """How many questions have each answer, normalised, as the one that most people gave.

    Raises:
        VQAError: a broken file, or an entry without ``multiple_choice_answer``.
    """
    counts: Counter[str] = Counter()
    for path in map(str, annotation_files):
        for entry in read_entries(path, 'annotations'):
            if 'multiple_choice_answer' not in entry:
                raise VQAError(
                    f'{path}, question {entry.get("question_id")}: no "multiple_choice_answer" (keys '
                    f'{sorted(entry)}). Expected an annotation file of VQA v2.'
                )
            counts[normalise_answer(entry['multiple_choice_answer']).replace(',', '')] += 1
    del counts['']
    return counts


def choose_answers(counts: Counter[str], min_count: int = 9) -> list[str]:
    """Answers of at least ``min_count`` questions, the most frequent first, equal ones by the alphabet.

    Raises:
        VQAError: none is that frequent.
    """
    answers = sorted(
        (answer for answer, count in counts.items() if count >= min_count), key=lambda answer: (-counts[answer], answer)
    )
    if not answers:
        raise VQAError(
            f'No answer belongs to {min_count} questions or more; the most frequent has '
            f'{max(counts.values(), default=0)}. Lower --min-count.'
        )
    return answers


def choose_images(image_ids: Iterable[int], count: int = 2000, seed: int = 0) -> list[int]:
    """``count`` different images by chance, sorted; the same on every machine and Python version.

    Raises:
        VQAError: there are fewer.
    """
    found = set(image_ids)
    if len(found) < count:
        raise VQAError(f'{count} images were asked for, the question file has {len(found)}. Ask for fewer.')
    return sorted(sorted(found, key=lambda image: hashlib.sha256(f'{seed}:{image}'.encode()).digest())[:count])
