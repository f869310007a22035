"""Converts GLIP weights, mmdet's or the original ones, to GLIPv2's names.

    python tools/model_converters/glip_to_glipv2.py glip_tiny_model_o365_goldg_cc_sbu.pth --out glip_t.pth

The source is recognised by its names. With --config the result is also loaded into that config's model, which
proves that no tensor is missing.
"""

import argparse
from collections import Counter
from pathlib import Path

from glipv2_mmdet.checkpoints import TRUST_HELP, CheckpointError, convert_file


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', type=Path, help='GLIP checkpoint of mmdet or of the original code')
    parser.add_argument('--out', type=Path, required=True, help='file to write')
    parser.add_argument('--config', help='config whose model has to take every tensor')
    parser.add_argument('--trust', action='store_true', help=TRUST_HELP)
    return parser.parse_args(argv)


def _build_model(path):
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.config import Config

    register_all_modules()
    return MODELS.build(Config.fromfile(path).model)


def report(conversion):
    """A short table: tensors and numbers per part, then what was left behind and why."""
    parts = {}
    for name, tensor in conversion.state_dict.items():
        parts.setdefault(name.split('.')[0], []).append(tensor.numel())
    fusion = 'with' if conversion.layout.early_fusion else 'without'
    lines = [
        f'source: {conversion.layout.source} GLIP, {fusion} early fusion',
        f'{"part":<28}{"tensors":>8}{"numbers":>14}',
    ]
    lines += [f'{part:<28}{len(sizes):>8}{sum(sizes):>14,}' for part, sizes in parts.items()]
    kinds = Counter((name.split('.')[-1], reason) for name, reason in conversion.excused.items())
    lines += [f'left behind: {count} x {name} ({reason})' for (name, reason), count in sorted(kinds.items())]
    return '\n'.join(lines)


def main(argv=None):
    args = parse_args(argv)
    try:
        conversion = convert_file(
            args.src, args.out, None if args.config is None else _build_model(args.config), trust=args.trust
        )
    except (CheckpointError, FileNotFoundError) as error:
        raise SystemExit(f'{args.src}: {error}') from error
    print(report(conversion))
    print(f'written: {args.out}')


if __name__ == '__main__':
    main()
