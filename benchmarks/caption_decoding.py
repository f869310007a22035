"""Race captions written word by word with kept state against computing them again at every step.

    python benchmarks/caption_decoding.py                 # table
    python benchmarks/caption_decoding.py --json          # flat figures on the standard output
    python benchmarks/caption_decoding.py --json FILE     # table, and flat figures in FILE

All forms share one set of random weights, the pyramid of one picture (backbone and FPN are not timed: every form needs
them once) and the search. "Incremental" is what the package does: image side once, then one word's work per step.
"Text again" keeps the image side and runs all words so far through text encoder, fusion and head at every step.
"All again" also runs the image side of fusion at every step, once per image, as a model without any state would. All
captions are as long as asked for: the end token is forbidden. First they are checked to be the same, then the forms
run in turn, so that a busy machine slows all of them; a ratio is the other form over ours of the *same* repetition,
the median over the repetitions.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from mmdet.registry import MODELS  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from torch import Tensor  # noqa: E402

import glipv2_mmdet  # noqa: E402, F401
from benchmarks.fusion import alternate, ratio  # noqa: E402
from benchmarks.report import make_parser, markdown_table, publish  # noqa: E402
from benchmarks.setup_record import describe_setup, setup_sentence  # noqa: E402
from glipv2_mmdet.models.detectors.captioning import CaptionSteps, unwritten_mask  # noqa: E402
from glipv2_mmdet.models.task_heads.decoding import SearchSettings, beam_search  # noqa: E402
from glipv2_mmdet.structures import TextFeatures  # noqa: E402
from glipv2_mmdet.text import TokenBatch  # noqa: E402

STRIDES = (8, 16, 32, 64, 128)
FORMS = ('incremental', 'text_again', 'all_again')


class AgainSteps:
    """Scores next words by running all words so far; ``image_again`` runs the image side too."""

    def __init__(self, detector, levels, image_again: bool) -> None:
        self.detector, self.levels, self.image_again = detector, levels, image_again
        self.image = detector.fusion.encode_image(levels, final_levels=False)
        self.unwritten = unwritten_mask(detector)
        self.texts = None

    def __call__(self, tokens: Tensor, parents: Tensor) -> Tensor:
        before = tokens.new_empty(len(tokens), 0) if self.texts is None else self.texts[parents]
        if self.image_again and self.texts is not None:
            self.image = self.detector.fusion.encode_image(self.levels, final_levels=False)
        self.texts = torch.cat((before, tokens[:, None]), dim=1)
        lengths = (self.texts.shape[1],) * len(tokens)
        batch = TokenBatch(self.texts, torch.ones_like(self.texts, dtype=torch.bool), lengths)
        hidden = self._fuse(self.detector.language_model(batch, causal=True))
        logits = self.detector.caption_head(hidden[:, -1], self.detector.language_model.word_embeddings)
        return logits.log_softmax(dim=-1).masked_fill(self.unwritten, float('-inf'))

    def _fuse(self, text: TextFeatures) -> Tensor:
        """All beams read the one image as the words of one text, so that nothing is copied here either."""
        hidden, (beams, words, channels) = text.hidden, text.hidden.shape
        for block, tokens in zip(self.detector.fusion.blocks, self.image.tokens, strict=True):
            read = block['attention'].read(tokens, hidden.reshape(1, beams * words, channels))
            hidden = block['text_layer'](read.view(beams, words, channels), causal=True)
        return hidden


def main() -> int:
    args = parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope('mmdet')
    figures = {}
    for scale in args.scales:
        torch.manual_seed(0)
        model = Config.fromfile(ROOT / f'configs/_base_/models/glipv2_{scale}_caption.py').model
        detector = MODELS.build(model).eval()
        torch.nn.init.normal_(detector.caption_head.bias, std=2.0)  # random weights hardly prefer any word
        for beam_size in args.beams:
            figures |= {
                f'caption_decoding_{scale}_beam{beam_size}_{name}': value
                for name, value in race(detector, beam_size, args).items()
            }
    setup = describe_setup(
        'caption_decoding', args, words=args.words, height=args.height, width=args.width, beams=args.beams
    )
    publish(figures | setup, table(figures, setup, args), args.json)
    return 0


@torch.no_grad()
def race(detector, beam_size: int, args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds per picture and ratios."""
    forms = writers(detector, beam_size, args.words, args.height, args.width)
    captions = [write() for write in forms]
    if len(set(captions)) > 1 or len(captions[0]) != args.words:
        raise RuntimeError(f'The forms wrote different captions: {captions}.')
    seconds = alternate(forms, args.repeats)
    figures = {}
    for name, times in zip(FORMS, seconds, strict=True):
        figures[f'{name}_ms'] = round(1000 * statistics.median(times), 1)
        figures[f'{name}_ms_spread'] = [round(1000 * limit(times), 1) for limit in (min, max)]
    for name, times in zip(FORMS[1:], seconds[1:], strict=True):
        figures[f'{name}_ratio'] = ratio([seconds[0], times])
    return figures


def writers(detector, beam_size: int, num_words: int, height: int, width: int) -> list[Callable[[], tuple[int, ...]]]:
    """One function per form that writes the caption of the same random picture and returns its tokens."""
    device = detector.language_model.word_embeddings.device
    channels = detector.fusion.blocks[0]['attention'].image_norm.normalized_shape[0]
    levels = [torch.randn(1, channels, -(-height // stride), -(-width // stride)).to(device) for stride in STRIDES]
    tokenizer = detector.language_model.tokenizer
    settings = SearchSettings(beam_size=beam_size, max_words=num_words)

    def write(steps_of: Callable) -> tuple[int, ...]:
        steps = steps_of()

        def never_ending(tokens: Tensor, parents: Tensor) -> Tensor:
            scores = steps(tokens, parents)
            scores[:, tokenizer.end_id] = float('-inf')
            return scores

        return beam_search(never_ending, 1, tokenizer.start_id, tokenizer.end_id, settings, device)[0].tokens

    forms = (
        lambda: CaptionSteps(detector, detector.fusion.encode_image(levels, final_levels=False)),
        lambda: AgainSteps(detector, levels, False),
        lambda: AgainSteps(detector, levels, True),
    )
    return [partial(write, form) for form in forms]


def table(figures: dict, setup: dict[str, object], args: argparse.Namespace) -> str:
    rows = []
    for scale in args.scales:
        for beam_size in args.beams:
            prefix = f'caption_decoding_{scale}_beam{beam_size}_'
            times = {
                name: f'{figures[f"{prefix}{name}_ms"]:.0f} ({low:.0f} to {high:.0f})'
                for name in FORMS
                for low, high in [figures[f'{prefix}{name}_ms_spread']]
            }
            rows.append(
                (
                    scale,
                    beam_size,
                    times['incremental'],
                    times['text_again'],
                    f'{figures[prefix + "text_again_ratio"]:.1f}x',
                    times['all_again'],
                    f'{figures[prefix + "all_again_ratio"]:.1f}x',
                )
            )
    columns = ('model', 'beams', 'incremental, ms', 'text again, ms', 'ratio', 'all again, ms', 'ratio')
    return (
        f'Captions of {args.words} words, picture of {args.height} x {args.width}.\n'
        f'{setup_sentence("caption_decoding", setup)}\n\n' + markdown_table(columns, rows, text=('model',))
    )


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--scales', nargs='+', default=['nano', 't'], choices=['nano', 't'])
    parser.add_argument('--beams', type=int, nargs='+', default=[1, 3], help='beam sizes; 1 is greedy')
    parser.add_argument('--words', type=int, default=20, help='tokens of every caption')
    parser.add_argument('--height', type=int, default=480)
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument('--repeats', type=int, default=5, help='counted runs of each form')
    parser.add_argument('--threads', type=int, default=2)
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
