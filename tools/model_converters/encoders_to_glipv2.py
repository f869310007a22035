"""Collects pre-trained encoders into one file that a pre-training config starts from (load_from).

    python tools/model_converters/encoders_to_glipv2.py unicl_swin_base.pth --out weights/glipv2_b_init.pth
    python tools/model_converters/encoders_to_glipv2.py swin_tiny_patch4_window7_224.pth bert/pytorch_model.bin \\
        --out weights/glipv2_t_init.pth

Sources are recognised by their names: UniCL, CLIP (OpenAI's and Hugging Face's names), BERT, Swin. Parts that a later
file has again are an error. With --config the result is tried in that config's encoders, which proves that none of
their tensors is missing.
"""

import argparse
from pathlib import Path

from glipv2_mmdet.checkpoints import (
    TRUST_HELP,
    CheckpointError,
    encoder_to_ours,
    load_weights,
    read_checkpoint,
    save_checkpoint,
    state_dict_of,
)
from glipv2_mmdet.version import __version__


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', type=Path, nargs='+', help='weights of one or two encoders, best as .safetensors')
    parser.add_argument('--out', type=Path, required=True, help='file to write')
    parser.add_argument(
        '--max-tokens',
        type=int,
        default=256,
        help="rows of CLIP's position table afterwards (default: 256, as the configs)",
    )
    parser.add_argument('--config', help='config whose encoders have to take every tensor')
    parser.add_argument('--trust', action='store_true', help=TRUST_HELP)
    return parser.parse_args(argv)


def convert_files(sources, out, max_tokens=256, config=None, trust=False):
    """Convert ``sources`` into ``out`` and return the conversions; ``out`` is written last, in one step."""
    weights, conversions = {}, []
    for source in sources:
        conversion = encoder_to_ours(state_dict_of(read_checkpoint(source, trust)), max_tokens)
        again = sorted(weights.keys() & conversion.state_dict.keys())
        if again:
            raise CheckpointError(
                f'"{source}" has {len(again)} tensors that an earlier file has too, for example '
                f'"{again[0]}". Give one file per encoder.'
            )
        weights |= conversion.state_dict
        conversions.append(conversion)
    if config is not None:
        _check_encoders(weights, config)
    save_checkpoint(
        out,
        weights,
        meta=dict(
            sources=[
                f'{conversion.source}: {Path(source).name}'
                for source, conversion in zip(sources, conversions, strict=True)
            ],
            converter=f'glipv2_mmdet {__version__}',
        ),
    )
    return conversions


def _check_encoders(weights, config):
    """Load each encoder that is in ``weights`` into that of the config, whole."""
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.config import Config

    register_all_modules()
    settings = Config.fromfile(config).model
    for part in ('backbone', 'language_model'):
        own = {name.removeprefix(f'{part}.'): value for name, value in weights.items() if name.startswith(f'{part}.')}
        if own:
            # norms of levels exist only in detection
            load_weights(MODELS.build(settings[part]), own, allow_missing=('norms.*',))


def main(argv=None):
    args = parse_args(argv)
    try:
        conversions = convert_files(args.src, args.out, args.max_tokens, args.config, args.trust)
    except (CheckpointError, FileNotFoundError) as error:
        raise SystemExit(f'{error}') from error
    for path, conversion in zip(args.src, conversions, strict=True):
        print(f'{path}: {conversion.source}, {len(conversion.state_dict)} tensors')
        if conversion.num_positions is not None:
            print('  positions: {} -> {}'.format(*conversion.num_positions))
        for reason in sorted(set(conversion.excused.values())):
            names = [name for name, why in conversion.excused.items() if why == reason]
            print(f'  left behind: {len(names)} ({reason}), for example {names[0]}')
    print(f'written: {args.out}')


if __name__ == '__main__':
    main()
