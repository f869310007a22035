"""ImageNet's localisation boxes (xml) to ODVG jsonl and a label map; a class is the first lemma of its synset.

    python tools/dataset_converters/imagenet_boxes_to_odvg.py ILSVRC/Annotations/CLS-LOC/train \
        --synsets LOC_synset_mapping.txt --out data/imagenet_boxes/train_odvg.jsonl \
        --check --image-root ILSVRC/Data/CLS-LOC/train
"""

import argparse
import sys

from glipv2_mmdet.datasets.conversion import imagenet_class_names, imagenet_records
from glipv2_mmdet.datasets.conversion.command import add_options, run_conversion


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', help='folder of <synset>/<image>.xml')
    parser.add_argument('--synsets', required=True, help='LOC_synset_mapping.txt')
    parser.add_argument('--suffix', default='.JPEG', help='of the image files (default: %(default)s)')
    add_options(parser)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    synsets = imagenet_class_names(args.synsets)
    records = imagenet_records(args.annotations, synsets, args.suffix)
    return run_conversion(
        args,
        records,
        [args.annotations, args.synsets],
        print,
        list(dict.fromkeys(synsets.values())),
        suffix=args.suffix,
    )


if __name__ == '__main__':
    sys.exit(main())
