"""Chooses the images of a VQA development split by a seed and writes their ids as a json list.

    python tools/dataset_converters/vqa_dev_split.py data/vqav2/v2_OpenEnded_mscoco_val2014_questions.json \
        --out data/vqav2/dev_images.json
"""

import argparse
import json
import sys
from pathlib import Path

from glipv2_mmdet.datasets.conversion import choose_images
from glipv2_mmdet.datasets.vqa_records import read_entries
from glipv2_mmdet.files import atomic_write


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('questions', help='question file')
    parser.add_argument('--out', type=Path, required=True, help='json list to write')
    parser.add_argument('--images', type=int, default=2000, help='how many')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    questions = read_entries(args.questions, 'questions')
    images = choose_images((entry['image_id'] for entry in questions), args.images, args.seed)
    with atomic_write(args.out) as file:
        file.write(json.dumps(images).encode() + b'\n')
    chosen = set(images)
    print(
        f'{args.out}: {len(images)} images with {sum(entry["image_id"] in chosen for entry in questions)} of '
        f'{len(questions)} questions'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
