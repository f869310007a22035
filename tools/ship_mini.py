"""Makes the weights file that ships with the package from a checkpoint of GLIPv2-mini.

    python tools/ship_mini.py work_dirs/glipv2_mini_pretrain_stage2/iter_850.pth

Left out: the frozen text encoder, which is the published one, and parts that serve training alone. Matrices and kernels
are stored in half precision, vectors (norms, biases, statistics) in single precision.
"""

import argparse
import sys
from pathlib import Path

import torch

from glipv2_mmdet.apis.model_loading import TRAINING_PARTS
from glipv2_mmdet.apis.shipped_weights import SHIPPED_FILES
from glipv2_mmdet.checkpoints import CheckpointError, read_checkpoint, save_safetensors, state_dict_of

LEFT_OUT = ('language_model', *TRAINING_PARTS)
DEFAULT = Path(__file__).resolve().parents[1] / 'glipv2_mmdet' / 'weights' / SHIPPED_FILES['glipv2-mini']


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='of configs/glipv2/glipv2_mini_pretrain_stage2.py')
    parser.add_argument('--out', type=Path, default=DEFAULT, help='(default: %(default)s)')
    return parser.parse_args(argv)


def shipped_tensors(state_dict):
    """What is kept, at the precision it is stored with; infinite or NaN values are refused."""
    kept = {}
    for name, tensor in state_dict.items():
        if name.split('.')[0] in LEFT_OUT:
            continue
        kept[name] = tensor.half() if tensor.is_floating_point() and tensor.dim() > 1 else tensor
        if not torch.isfinite(kept[name]).all():
            raise CheckpointError(f'"{name}" has values that half precision cannot hold.')
    return kept


def main(argv=None):
    args = parse_args(argv)
    try:
        tensors = shipped_tensors(state_dict_of(read_checkpoint(args.checkpoint)))
    except (CheckpointError, FileNotFoundError) as error:
        sys.stderr.write(f'ship_mini: {error}\n')
        return 2
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_safetensors(args.out, tensors)
    print(f'{args.out}: {len(tensors)} tensors, {args.out.stat().st_size / 1e6:.1f} MB')
    return 0


if __name__ == '__main__':
    sys.exit(main())
