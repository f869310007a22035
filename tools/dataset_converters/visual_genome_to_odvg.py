"""Visual Genome's objects.json to ODVG jsonl and a label map of the names with at least --min-uses boxes.

    python tools/dataset_converters/visual_genome_to_odvg.py objects.json --image-data image_data.json \
        --out data/visual_genome/vg_train_odvg.jsonl --check --image-root data/visual_genome
"""

import argparse
import sys

from glipv2_mmdet.datasets.conversion import visual_genome_class_names, visual_genome_records
from glipv2_mmdet.datasets.conversion.command import add_options, run_conversion, scratch_folder


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('objects', help='objects.json')
    parser.add_argument('--image-data', required=True, help='image_data.json of the same version')
    parser.add_argument('--min-uses', type=int, default=100, help='boxes a name needs (default: %(default)s)')
    add_options(parser)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    names = visual_genome_class_names(args.objects, args.min_uses)
    records = visual_genome_records(args.objects, args.image_data, names, scratch_folder(args))
    return run_conversion(args, records, [args.objects, args.image_data], print, names, min_uses=args.min_uses)


if __name__ == '__main__':
    sys.exit(main())
