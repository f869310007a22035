"""More questions about each training scene of the shapes data, from the files of a rendering: VQA v2 files.

python tools/dataset_converters/more_shapes_questions.py data/shapes
"""

import argparse
import json
import sys
from pathlib import Path

from glipv2_mmdet.datasets.shapes_questions import practice_questions
from glipv2_mmdet.files import atomic_write


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, help='folder of tools/make_shapes.py')
    parser.add_argument('--split', choices=('train', 'val'), default='train')
    parser.add_argument('--seed', type=int, default=0, help='which of all questions')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    files = dict(zip(('questions', 'answers'), practice_questions(args.data, args.split, args.seed), strict=True))
    for name, content in files.items():
        path = args.data / 'annotations' / f'more_{name}_{args.split}.json'
        with atomic_write(path) as file:
            file.write(json.dumps(content, separators=(',', ':')).encode() + b'\n')
        print(f'{path}: {len(files["questions"]["questions"])} {name}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
