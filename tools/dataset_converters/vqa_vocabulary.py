"""Answer vocabulary of VQA from official annotation files: a json list, the most frequent answer first.

    python tools/dataset_converters/vqa_vocabulary.py data/vqav2/v2_mscoco_train2014_annotations.json \
        data/vqav2/v2_mscoco_val2014_annotations.json --expect 3129 --out data/vqav2/answers_3129.json
    python tools/dataset_converters/vqa_vocabulary.py data/shapes/annotations/answers_train.json --min-count 1 \
        --out data/shapes/annotations/answer_vocabulary.json
"""

import argparse
import json
import sys
from pathlib import Path

from glipv2_mmdet.datasets.conversion import choose_answers, count_answers
from glipv2_mmdet.files import atomic_write


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', nargs='+', help='annotation files')
    parser.add_argument('--out', type=Path, required=True, help='json list to write')
    parser.add_argument('--min-count', type=int, default=9, help='questions an answer has to belong to')
    parser.add_argument('--expect', type=int, help='fail, and write nothing, when another number of answers results')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    counts = count_answers(args.annotations)
    answers = choose_answers(counts, args.min_count)
    covered = sum(counts[answer] for answer in answers)
    print(
        f'{len(answers)} of {len(counts)} answers belong to {args.min_count} questions or more; they are the most '
        f'given answer of {covered} of {counts.total()} questions'
    )
    if args.expect not in (None, len(answers)):
        print(f'Expected {args.expect} answers. Are these the complete files of both splits? Nothing was written.')
        return 1
    with atomic_write(args.out) as file:
        file.write(json.dumps(answers, ensure_ascii=False, indent=0).encode() + b'\n')
    print(f'{args.out}: written')
    return 0


if __name__ == '__main__':
    sys.exit(main())
