"""MDETR json (mixed, Flickr30k separateGT) to ODVG jsonl.

    python tools/dataset_converters/mdetr_to_odvg.py final_mixed_train_no_coco.json \
        --out data/gqa/final_mixed_train_no_coco_odvg.jsonl --check --image-root data/gqa/images
    python tools/dataset_converters/mdetr_to_odvg.py final_mixed_train.json --out data/final_mixed_train_odvg.jsonl \
        --image-folder coco=coco/train2014 --image-folder vg=gqa/images
"""

import argparse
import sys

from glipv2_mmdet.datasets.conversion import mdetr_records
from glipv2_mmdet.datasets.conversion.command import add_options, run_conversion, scratch_folder


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', help='MDETR json')
    parser.add_argument(
        '--image-folder',
        action='append',
        metavar='SOURCE=FOLDER',
        default=[],
        help='folder of the images of one data_source (* for the others); may be repeated',
    )
    add_options(parser)
    args = parser.parse_args(argv)
    if not all('=' in folder for folder in args.image_folder):
        parser.error(f'--image-folder is {args.image_folder}; expected SOURCE=FOLDER, such as vg=gqa/images')
    args.image_folder = dict(folder.split('=', 1) for folder in args.image_folder) or None
    return args


def main(argv=None):
    args = parse_args(argv)
    rows = mdetr_records(args.annotations, args.image_folder, scratch_folder(args))
    return run_conversion(
        args, (record for _, record in rows), [args.annotations], print, image_folders=args.image_folder
    )


if __name__ == '__main__':
    sys.exit(main())
