"""The A/B pairs of ``benchmarks/run.py``: two forms of one computation, each run by a process of its own.

The first form of a pair is what the package does, the second what it is compared with. Both are made with the same
seed, so that where they should compute the same they can be seen to.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial

import torch
from mmdet.registry import MODELS
from torch import Tensor
from torchvision.ops import deform_conv2d

from benchmarks import inter_loss
from benchmarks.caption_decoding import FORMS, writers
from benchmarks.fresh_process import WorkerSettings
from benchmarks.fusion import NUM_POSITIONS, train_step
from benchmarks.mask_head import HEIGHT, STRIDES, WIDTH, DenseMaskHead, random_boxes, random_phrases
from benchmarks.mask_head import run as run_mask_head
from benchmarks.random_models import CAPTION, CLASSES, read_model
from benchmarks.textbook_bi_attention import textbook_bi_attention
from benchmarks.timing import measure
from glipv2_mmdet.models import BertTextEncoder, HourglassMaskHead, VLFusionDyHead
from glipv2_mmdet.models.layers import BiAttention
from glipv2_mmdet.models.layers.deform_conv import KERNEL_SIZE, NUM_TAPS, _grid_deform_conv
from glipv2_mmdet.structures import TextFeatures
from glipv2_mmdet.text import prompt_from_caption, prompt_from_classes

Run = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One form of a pair.

    Attributes:
        pair: name of the pair.
        form: name of the form.
        what: what the pair compares, in a few words.
        make: prepares everything on a device and gives what is timed.
        same_result: both forms compute the same numbers, which is checked.
        on_gpu: the pair is part of the GPU suite too, where the answer may be another.
    """

    pair: str
    form: str
    what: str
    make: Callable[[torch.device], Run]
    same_result: bool = True
    on_gpu: bool = False

    @property
    def name(self) -> str:
        return f'{self.pair}/{self.form}'


def measure_case(name: str, settings: WorkerSettings) -> dict:
    """Figures of one form; called in its process."""
    device = torch.device(settings.device)
    return asdict(measure(CASES[name].make(device), device, settings.repeats))


def pairs_of(cases: dict[str, Case]) -> dict[str, tuple[Case, Case]]:
    """The two forms of every pair, in the order they were registered."""
    forms: dict[str, list[Case]] = {}
    for case in cases.values():
        forms.setdefault(case.pair, []).append(case)
    return {pair: (first, second) for pair, (first, second) in forms.items()}


def fuse(
    num_words: int, training: bool, textbook: bool, device: torch.device, num_positions: int = NUM_POSITIONS
) -> Run:
    layer = BiAttention(dropout=0.0)
    for name, parameter in layer.named_parameters():
        if name.endswith('bias'):
            torch.nn.init.normal_(parameter, std=0.02)
    layer = layer.to(device).train(training)
    form = partial(textbook_bi_attention, layer) if textbook else layer
    image, text = torch.randn(1, num_positions, 256).to(device), torch.randn(1, num_words, 768).to(device)
    if training:
        return lambda: train_step(form, layer, image, text)
    return torch.no_grad()(lambda: form(image, text)[0])


def make_masks(training: bool, dense: bool, device: torch.device, num_boxes: int = 100, num_words: int = 200) -> Run:
    head = (DenseMaskHead if dense else HourglassMaskHead)().to(device)
    levels = [torch.randn(1, 256, -(-HEIGHT // stride), -(-WIDTH // stride)).to(device) for stride in STRIDES]
    words = torch.randn(1, num_words, 768).to(device)
    boxes, word_map = random_boxes(num_boxes).to(device), random_phrases(num_boxes, num_words).to(device)

    def whole(head: HourglassMaskHead) -> Tensor:
        return head(levels, words, [boxes], [word_map])

    if training:
        return lambda: run_mask_head(whole, head, training=True)
    return torch.no_grad()(lambda: whole(head))


def write_caption(form: str, device: torch.device) -> Run:
    detector = MODELS.build(read_model('nano_caption')).to(device).eval()
    torch.nn.init.normal_(detector.caption_head.bias, std=2.0)  # random weights hardly prefer any word
    write = writers(detector, beam_size=3, num_words=20, height=480, width=640)[FORMS.index(form)]
    return torch.no_grad()(lambda: torch.tensor(write()))


def learn(with_inter_loss: bool, device: torch.device) -> Run:
    model = read_model('nano', training=True)
    if not with_inter_loss:
        model.pop('inter_loss')
    detector = MODELS.build(model).to(device).train()
    args = Namespace(images=2, size=224)

    def step() -> None:
        with inter_loss.other_ranks(32) if with_inter_loss else nullcontext():
            inter_loss.train_step(detector, args)

    return step


def convolve(
    training: bool, grid: bool, device: torch.device, channels: int = 256, height: int = 60, width: int = 80
) -> Run:
    x = torch.randn(1, channels, height, width)
    offset = 2 * torch.randn(1, 2 * NUM_TAPS, height, width)
    mask = torch.rand(1, NUM_TAPS, height, width)
    weight = 0.02 * torch.randn(channels, channels, KERNEL_SIZE, KERNEL_SIZE)
    inputs = [tensor.to(device).requires_grad_(training) for tensor in (x, offset, mask, weight)]

    def run() -> Tensor:
        x, offset, mask, weight = inputs
        with torch.set_grad_enabled(training):
            out = (
                _grid_deform_conv(x, offset, mask, weight, None, 1)
                if grid
                else deform_conv2d(x, offset, weight, padding=1, mask=mask)
            )
            if training:
                torch.autograd.grad(out.sum(), inputs)
        return out

    return run


def encode_prompts(once: bool, device: torch.device, num_images: int = 4) -> Run:
    encoder = BertTextEncoder().to(device).eval()
    prompts = [prompt_from_classes(CLASSES)] * num_images
    if once:
        return torch.no_grad()(lambda: encoder.encode(prompts).hidden)
    tokenizer = encoder.tokenizer
    return torch.no_grad()(
        lambda: encoder(tokenizer.collate([tokenizer(prompt) for prompt in prompts]).to(device)).hidden
    )


def read_words(padded_to: int | None, device: torch.device) -> Run:
    """Text encoder and one fusion block; padding is what the public implementations always compute on."""
    encoder = BertTextEncoder().to(device).eval()
    neck = VLFusionDyHead(num_blocks=1).to(device).eval()
    levels = [torch.randn(1, 256, -(-480 // stride), -(-640 // stride)).to(device) for stride in STRIDES]
    tokens = encoder.tokenizer(prompt_from_caption(CAPTION))
    batch = encoder.tokenizer.collate([tokens]).to(device)

    def encode() -> TextFeatures:
        if padded_to is None:
            return encoder(batch)
        missing = padded_to - batch.mask.shape[1]
        ids, mask = (torch.nn.functional.pad(x, (0, missing)) for x in (batch.input_ids, batch.mask))
        hidden = encoder.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return TextFeatures(hidden, hidden * mask.unsqueeze(-1), mask, batch.lengths)

    return torch.no_grad()(lambda: neck(levels, encode()).levels[0])


def _cases() -> Iterator[Case]:
    for num_words in (16, 64, 256):
        for training in (False, True):
            for form in ('absorbed', 'textbook'):
                yield Case(
                    f'fusion_T{num_words}_{"train" if training else "infer"}',
                    form,
                    f'bi-attention, {num_words} words{", training" if training else ""}',
                    partial(fuse, num_words, training, form == 'textbook'),
                    on_gpu=True,
                )
    for training in (False, True):
        for form in ('word_mean', 'dense'):
            yield Case(
                f'mask_head_{"train" if training else "infer"}',
                form,
                f'mask head, 100 boxes, 200 words{", training" if training else ""}',
                partial(make_masks, training, form == 'dense'),
                on_gpu=True,
            )
    for training in (False, True):
        for form in ('grid_sample', 'torchvision'):
            yield Case(
                f'deform_conv_{"train" if training else "infer"}',
                form,
                f'deformable convolution, 256 x 60 x 80{", training" if training else ""}',
                partial(convolve, training, form == 'grid_sample'),
                on_gpu=True,
            )
    for form in (FORMS[0], FORMS[2]):
        yield Case('caption_nano_beam3', form, 'caption of 20 words, 3 beams, nano', partial(write_caption, form))
    for form in ('once', 'every_image'):
        yield Case(
            'text_encoding',
            form,
            'one prompt of 80 classes for 4 images, BERT-base',
            partial(encode_prompts, form == 'once'),
        )
    for form, length in (('real_words', None), ('padded_256', 256)):
        yield Case(
            'prompt_length', form, 'BERT-base and one fusion block, caption of 8 words', partial(read_words, length)
        )
    for form in ('with', 'without'):
        yield Case(
            'inter_loss',
            form,
            'training step with and without L_inter of 32 ranks, nano',
            partial(learn, form == 'with'),
            same_result=False,
        )


#: By name, the forms of a pair side by side.
CASES = {case.name: case for case in _cases()}
