"""OpenImages' box csv to ODVG jsonl and a label map; boxes around groups are left out, sizes are read from the images.

    python tools/dataset_converters/open_images_to_odvg.py oidv6-train-annotations-bbox.csv \
        --classes class-descriptions-boxable.csv --images data/open_images/train \
        --out data/open_images/oi_v6_train_odvg.jsonl --check --image-root data/open_images/train
"""

import argparse
import sys
from collections import Counter

from glipv2_mmdet.datasets.conversion import open_images_class_names, open_images_records
from glipv2_mmdet.datasets.conversion.command import add_options, run_conversion, scratch_folder


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('boxes', help='csv of boxes')
    parser.add_argument('--classes', required=True, help='csv of machine ids and names')
    parser.add_argument('--images', required=True, help='folder of <ImageID>.jpg')
    add_options(parser)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    counts = Counter()
    names = list(open_images_class_names(args.classes).values())
    records = open_images_records(args.boxes, args.classes, args.images, counts, scratch_folder(args))
    status = run_conversion(args, records, [args.boxes, args.classes, args.images], print, names)
    if counts['missing_images']:
        print(f'{counts["missing_images"]} images with boxes are not in {args.images} and were left out')
    return status


if __name__ == '__main__':
    sys.exit(main())
