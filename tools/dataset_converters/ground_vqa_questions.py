"""Grounding records of VQA v2, in two calls around tools/pseudo_label.py: captions of questions, then their boxes.

    python tools/dataset_converters/ground_vqa_questions.py QUESTIONS ANNOTATIONS \
        --image-template 'COCO_train2014_{image_id:012d}.jpg' --shards data/vqav2/captions_train2014
    python tools/pseudo_label.py CONFIG CHECKPOINT data/vqav2/captions_train2014/*.jsonl \
        --image-root data/coco/train2014 --out data/vqav2/labels_train2014
    python tools/dataset_converters/ground_vqa_questions.py QUESTIONS ANNOTATIONS \
        --image-template 'COCO_train2014_{image_id:012d}.jpg' --labels data/vqav2/labels_train2014/*.jsonl \
        --out data/vqav2/grounding_train2014.jsonl
"""

import argparse
import sys
from itertools import islice
from pathlib import Path

from glipv2_mmdet.datasets.conversion import join_labels, question_captions, write_odvg


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('questions', help='official question file')
    parser.add_argument('annotations', help='official annotation file')
    parser.add_argument('--image-template', required=True, help='file name of an image by its id')
    parser.add_argument('--shards', type=Path, help='first call: folder of captions-00000.jsonl, ... to write')
    parser.add_argument('--shard-size', type=int, default=10000, help='captions per shard')
    parser.add_argument('--labels', nargs='+', help='second call: what tools/pseudo_label.py wrote')
    parser.add_argument('--out', type=Path, help='second call: grounding file to write')
    args = parser.parse_args(argv)
    if (args.shards is None) == (args.labels is None) or (args.labels is None) != (args.out is None):
        parser.error('expected --shards, or --labels with --out')
    return args


def main(argv=None):
    args = parse_args(argv)
    captions = question_captions(args.questions, args.annotations, args.image_template)
    sources = [args.questions, args.annotations]
    if args.labels:
        count = write_odvg(args.out, join_labels(captions, args.labels), [*sources, *args.labels])
        print(f'{args.out}: up to date' if count is None else f'{args.out}: {count} records written')
        return 0
    number = 0
    while shard := list(islice(captions, args.shard_size)):
        write_odvg(args.shards / f'captions-{number:05d}.jsonl', shard, sources, force=True)
        number += 1
    print(f'{args.shards}: {number} shards')
    return 0


if __name__ == '__main__':
    sys.exit(main())
