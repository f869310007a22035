"""Finds boxes for the noun phrases of captions with any checkpoint, shard by shard.

    python tools/pseudo_label.py CONFIG CHECKPOINT shards/*.jsonl --image-root images --out pseudo
    torchrun --nproc_per_node 8 tools/pseudo_label.py CONFIG CHECKPOINT shards/*.tar --out pseudo --format webdataset

Shards: .jsonl with {"filename", "caption"} per line, or WebDataset .tar. Each output is written whole; run the same
command again after a crash, and finished shards are left alone. Any number of processes and machines.
"""

import argparse
import os
import sys

import glipv2_mmdet  # noqa: F401

# isort: split
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from glipv2_mmdet.apis import LabelSettings, label_shards
from glipv2_mmdet.apis.model_names import tell_if_foreign

LOADERS = ('LoadImageFromFile', 'LoadStreamedImage', 'LoadAnnotations')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the model; Python code, which is run')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('shards', nargs='+', help='.jsonl or .tar files')
    parser.add_argument('--out', required=True, help='folder of the results')
    parser.add_argument('--image-root', default='', help='folder of the images of .jsonl shards')
    parser.add_argument('--score-thr', type=float, default=0.5, help='(default: %(default)s, as GLIP)')
    parser.add_argument('--nms-iou', type=float, default=0.0, help="NMS per phrase after the model's own; 0: none")
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--noun-phrases', choices=['rules', 'spacy', 'nltk'], default='rules')
    parser.add_argument('--format', choices=['odvg', 'webdataset'], default='odvg')
    parser.add_argument('--device', help='default: the GPU of LOCAL_RANK, or the CPU where there is none')
    return parser.parse_args(argv)


def build_model(config, checkpoint, device):
    """The detector in eval mode; its class complains about weights that do not fit."""
    register_all_modules()
    model = MODELS.build(config.model)
    load_checkpoint(model, checkpoint, map_location='cpu')
    return model.to(device).eval()


def main(argv=None):
    args = parse_args(argv)
    local_rank = int(os.environ.get('LOCAL_RANK', 0))
    device = args.device or (f'cuda:{local_rank}' if torch.cuda.is_available() else 'cpu')
    settings = LabelSettings(args.score_thr, args.nms_iou, args.batch_size, args.noun_phrases, args.format)
    tell_if_foreign(args.config)
    config = Config.fromfile(args.config)
    pipeline = [step for step in config.test_dataloader.dataset.pipeline if step['type'] not in LOADERS]
    # torchrun's variables; shards need no messages between processes, so no process group is made
    rank, world_size = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
    counts = label_shards(
        build_model(config, args.checkpoint, device),
        pipeline,
        args.shards,
        args.out,
        args.image_root,
        settings,
        rank,
        world_size,
    )
    print(
        f'rank {rank}: {counts["shards"]} shards labelled, {counts["skipped_shards"]} were there already; '
        f'{counts["labelled"]} of {counts["pairs"]} pairs have boxes ({counts["boxes"]}), {counts["no_phrase"]} no '
        f'noun phrase, {counts["unreadable"]} no readable image, {counts["bad_records"]} records are broken'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
