"""Takes the weights alone out of a checkpoint and writes them as .safetensors, which cannot hold code.

    python tools/model_converters/to_safetensors.py iter_2600.pth --out nano.safetensors

Every command and config of this package takes the result in place of the checkpoint (to resume a run it needs the
checkpoint itself). A file that holds more than weights and numbers is refused, unless --trust says otherwise.
"""

import argparse
import sys
from pathlib import Path

from glipv2_mmdet.checkpoints import TRUST_HELP, CheckpointError, read_checkpoint, save_safetensors, state_dict_of


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', type=Path, help='checkpoint of torch, mmengine, or the original GLIP code')
    parser.add_argument('--out', type=Path, required=True, help='file to write, .safetensors')
    parser.add_argument('--trust', action='store_true', help=TRUST_HELP)
    args = parser.parse_args(argv)
    if args.out.suffix != '.safetensors':
        parser.error(f'--out is "{args.out}"; expected a name that ends in .safetensors')
    return args


def main(argv=None):
    args = parse_args(argv)
    try:
        weights = state_dict_of(read_checkpoint(args.src, args.trust))
    except (CheckpointError, FileNotFoundError) as error:
        raise SystemExit(f'{error}') from error
    save_safetensors(args.out, weights)
    print(f'written: {args.out}, {len(weights)} tensors')
    return 0


if __name__ == '__main__':
    sys.exit(main())
