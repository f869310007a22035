"""Boxes for the words of the shapes questions, from the files of a rendering: grounding records of grounded VQA.

python tools/dataset_converters/ground_shapes_questions.py data/shapes
"""

import argparse
import sys
from pathlib import Path

from glipv2_mmdet.datasets.conversion import write_odvg
from glipv2_mmdet.datasets.shapes_grounding import ground_questions


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, help='folder of tools/make_shapes.py')
    parser.add_argument('--split', choices=('train', 'val'), default='train')
    parser.add_argument('--out', type=Path, help='jsonl to write; default: annotations/vqa_grounding_<split>.jsonl')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = args.out or args.data / 'annotations' / f'vqa_grounding_{args.split}.jsonl'
    sources = [args.data / 'annotations' / f'{name}{args.split}.json' for name in ('', 'questions_', 'answers_')]
    count = write_odvg(out, ground_questions(args.data, args.split), sources, progress=False)
    print(f'{out}: up to date' if count is None else f'{out}: {count} records written')
    return 0


if __name__ == '__main__':
    sys.exit(main())
