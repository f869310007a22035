"""Training steps on extreme numbers, and what becomes of them; shared by the campaign and the tests.

A step ends well when its losses and the new weights are finite, or when ``StopOnNonFiniteHook`` stops it and the
weights are those before. Numbers that a float16 holds must not stop it.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from glipv2_mmdet.engine import NonFiniteError, StopOnNonFiniteHook
from glipv2_mmdet.models import CaptionHead, InterImageContrast, MLMHead, VQAHead
from glipv2_mmdet.models.layers import BiAttention
from glipv2_mmdet.models.losses import LocalizationLoss, MaskLoss, RegionWordFocalLoss
from glipv2_mmdet.models.losses.inter_image_contrast import multi_positive_cross_entropy
from glipv2_mmdet.structures import TextFeatures
from glipv2_mmdet.text import MaskedTokens, PromptTokenizer, prompt_from_classes
from tests.test_models.nano import CHANNELS, MASK_HEAD, TEXT_CHANNELS, build_detector, data_sample

HALF_MAX = 65504.0
EXTREMES = (0.0, 1e-30, 1e4, -1e4, HALF_MAX, -HALF_MAX, 1e30, -1e30, float('inf'), float('nan'))
DTYPES = (None, torch.bfloat16, torch.float16)
NAMES = ('cat', 'red car')
ALL_LOSSES = dict(
    mask_head=MASK_HEAD,
    mlm_head=dict(type='MLMHead', text_channels=TEXT_CHANNELS, mask_probability=0.7),
    inter_loss=dict(type='InterImageContrast', channels=CHANNELS, text_channels=TEXT_CHANNELS),
)


@dataclass(frozen=True)
class Case:
    """One training step.

    Attributes:
        name: for the table.
        make: the model, ready to train, and its batch.
        must_be_finite: a stop would be wrong.
        dtype: of mixed precision; None for none.
    """

    name: str
    make: Callable[[], tuple[nn.Module, dict]]
    must_be_finite: bool
    dtype: torch.dtype | None = None


def outcome(case: Case) -> str:
    """``'finite'``, ``'stopped'``, or what went wrong."""
    model, batch = case.make()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3), clip_grad=dict(max_norm=1.0))
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    with tempfile.TemporaryDirectory() as folder:
        runner = SimpleNamespace(model=model, optim_wrapper=wrapper, iter=0, cfg=Config(), work_dir=folder)
        hook = StopOnNonFiniteHook()
        hook.before_train(runner)
        hook.before_train_iter(runner, 0, batch)
        try:
            with torch.autocast('cpu', dtype=case.dtype, enabled=case.dtype is not None):
                losses = model(**batch, mode='loss')
            loss, values = BaseModel.parse_losses(model, losses)
            missing = _without_gradient(model, loss)
            if missing:  # distributed training would wait for them
                return f'no gradient for {missing}'
            wrapper.update_params(loss)
        except NonFiniteError as error:
            if any(not _same(value, before[name]) for name, value in model.named_parameters()):
                return 'the weights changed'
            return 'stopped' if not case.must_be_finite else str(error).splitlines()[0]
        finally:
            hook.after_train(runner)
    if not all(value.isfinite().all() for value in values.values()):
        return f'went on with losses {values}'
    bad = [
        name for name, value in model.named_parameters() if not value.isfinite().all() and before[name].isfinite().all()
    ]
    return f'weights {bad} became non-finite' if bad else 'finite'


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(), other.nan_to_num())


def _without_gradient(model: nn.Module, loss: Tensor) -> list[str]:
    """Parameters that learn and take no part in the loss."""
    learning = {name: value for name, value in model.named_parameters() if value.requires_grad}
    gradients = torch.autograd.grad(loss, list(learning.values()), retain_graph=True, allow_unused=True)
    return [name for name, gradient in zip(learning, gradients, strict=True) if gradient is None]


class Extreme(BaseModel):
    """A loss as a model: its parameter is the extreme input, which mixed precision would make ``dtype``."""

    def __init__(
        self, values: Tensor, dtype: torch.dtype | None, loss: Callable[[Tensor], Tensor], part: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.values = nn.Parameter(values.clone())
        self.dtype = dtype
        self.loss = loss
        self.part = part

    def forward(self, mode: str) -> dict[str, Tensor]:
        return dict(loss=self.loss(self.values if self.dtype is None else self.values.to(self.dtype)))


def loss_cases(seed: int, num_random: int) -> Iterator[Case]:
    """Every loss x every extreme x every type, and random draws of mixed magnitudes."""
    generator = random.Random(seed)
    draws = [('filled', value) for value in EXTREMES] + [
        ('drawn', generator.getrandbits(31)) for _ in range(num_random)
    ]
    for name, (shape, make) in _LOSSES.items():
        for kind, value in draws:
            for dtype in DTYPES:
                values = torch.full(shape, value) if kind == 'filled' else _mixed(shape, value)
                in_range = bool((values.abs() <= HALF_MAX).all())
                loss, part = make()
                yield Case(
                    f'{name}, {kind} {value}, {_name(dtype)}',
                    lambda values=values, dtype=dtype, loss=loss, part=part: (Extreme(values, dtype, loss, part), {}),
                    in_range,
                    dtype,
                )


def _mixed(shape: tuple[int, ...], seed: int) -> Tensor:
    """Random signs, magnitudes between 1e-38 and an upper limit that is drawn too."""
    generator = torch.Generator().manual_seed(seed)
    top = (2.0, 4.8, 30.0)[seed % 3]
    magnitude = torch.rand(shape, generator=generator) * (top + 38) - 38
    return torch.randn(shape, generator=generator).sign() * 10**magnitude


def _name(dtype: torch.dtype | None) -> str:
    return 'float32' if dtype is None else str(dtype).removeprefix('torch.')


def _focal() -> tuple[Callable, None]:
    targets = torch.arange(40).view(2, 5, 4) % 2.0
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    return lambda x: RegionWordFocalLoss()(x, targets, mask, torch.tensor(2.0)), None


def _mask() -> tuple[Callable, None]:
    return lambda x: MaskLoss()(x, torch.arange(32).view(2, 4, 4) % 2.0), None


ANCHORS = torch.tensor([[0.0, 0.0, 8.0, 8.0], [10.0, 0.0, 20.0, 10.0], [5.0, 5.0, 5.0, 5.0]])
BOXES = torch.tensor([[1.0, 1.0, 9.0, 9.0], [2.0, 0.0, 30.0, 22.0], [5.0, 5.0, 5.0, 5.0]])


def _boxes() -> tuple[Callable, None]:
    return lambda x: LocalizationLoss()(x.float(), torch.zeros(3), BOXES, ANCHORS, torch.tensor(1.0))[0], None


def _target_boxes() -> tuple[Callable, None]:
    def loss(x: Tensor) -> Tensor:
        anchors = ANCHORS + 0 * x.nan_to_num(0, 0, 0).float()
        return sum(LocalizationLoss()(anchors, anchors[:, 0] * 0, x.detach().float(), ANCHORS, torch.tensor(1.0)))

    return loss, None


def _centerness() -> tuple[Callable, None]:
    return lambda x: LocalizationLoss()(ANCHORS, x, BOXES, ANCHORS, torch.tensor(1.0))[1], None


def _contrast() -> tuple[Callable, None]:
    positive = torch.tensor([[True, False, True, False], [False] * 4, [False, False, False, True]])
    return lambda x: multi_positive_cross_entropy(x.float(), positive), None


def _temperature() -> tuple[Callable, nn.Module]:
    torch.manual_seed(0)
    part = InterImageContrast(CHANNELS, TEXT_CHANNELS)
    regions, words = torch.randn(3, CHANNELS), torch.randn(4, TEXT_CHANNELS)
    del part.log_scale
    labels = SimpleNamespace(
        annotated=torch.eye(3, 4).bool(),
        same_image=torch.ones(3, 4, dtype=torch.bool),
        region_categories=torch.zeros(3).long(),
        word_categories=torch.zeros(4).long(),
    )

    def loss(x: Tensor) -> Tensor:
        part.log_scale = x.float()
        return part.contrast(part.embed_regions(regions), part.embed_words(words), labels, 3)

    return loss, part


def _attention() -> tuple[Callable, nn.Module]:
    torch.manual_seed(0)
    part = BiAttention(CHANNELS, TEXT_CHANNELS, 32, 4)
    words, mask = torch.randn(2, 3, TEXT_CHANNELS), torch.tensor([[True, True, True], [False, False, False]])

    def loss(x: Tensor) -> Tensor:
        image, text = part(x.float(), words, mask)
        return image.float().square().mean() + text.float().square().mean()

    return loss, part


def _text(x: Tensor) -> TextFeatures:
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    return TextFeatures(hidden=x.float(), embedded=x.float(), mask=mask, lengths=(3, 1, 0))


def _vqa() -> tuple[Callable, nn.Module]:
    torch.manual_seed(0)
    part = VQAHead(TEXT_CHANNELS, num_answers=7)
    part.init_weights()
    return lambda x: part.loss(_text(x), torch.arange(21).view(3, 7) % 2.0), part


def _mlm() -> tuple[Callable, nn.Module]:
    torch.manual_seed(0)
    part, table = MLMHead(TEXT_CHANNELS, vocab_size=50), torch.randn(50, TEXT_CHANNELS)
    masked = MaskedTokens(None, torch.tensor([0, 1, 4]), torch.tensor([3, 4, 49]))
    return lambda x: part.loss(x.float(), masked, table), part


def _caption() -> tuple[Callable, nn.Module]:
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    captions = [tokenizer(prompt_from_classes([name])) for name in ('cat', 'dog', 'car')]
    part, table = CaptionHead(TEXT_CHANNELS), torch.randn(30522, TEXT_CHANNELS)
    return lambda x: part.loss(x.float(), captions, tokenizer, table), part


def _word_bias() -> tuple[Callable, nn.Module]:
    """Scores of words far out of float16, of which mixed precision makes infinities."""
    loss, part = _mlm()

    def loss_of_bias(x: Tensor) -> Tensor:
        del part.bias
        part.bias = x
        return loss(torch.ones(3, 3, TEXT_CHANNELS))

    del part.bias
    part.bias = torch.zeros(50)
    return loss_of_bias, part


@cache
def _tokenizer() -> PromptTokenizer:
    return PromptTokenizer()


#: Name -> shape of the extreme input, and what makes its loss (and the part that learns).
_LOSSES: dict[str, tuple[tuple[int, ...], Callable[[], tuple[Callable, nn.Module | None]]]] = {
    'region-word scores': ((2, 5, 4), _focal),
    'mask scores': ((2, 4, 4), _mask),
    'boxes': ((3, 4), _boxes),
    'target boxes': ((3, 4), _target_boxes),
    'centerness': ((3,), _centerness),
    'similarities': ((3, 4), _contrast),
    'temperature of L_inter': ((1,), _temperature),
    'image in attention': ((2, 6, CHANNELS), _attention),
    'words in VQA': ((3, 3, TEXT_CHANNELS), _vqa),
    'words in MLM': ((3, 3, TEXT_CHANNELS), _mlm),
    'words in captions': ((3, 3, TEXT_CHANNELS), _caption),
    'bias of words': ((50,), _word_bias),
}

#: Pixels. Below, the coarsest level is convolved from a single position, and torch 2.11 on a CPU leaves the gradient of
#: such weights (3 x 3, stride 2, bfloat16) as it finds the memory. No recipe trains in bfloat16 on a CPU.
LEAST_SIDE = 65
SHAPES = ((1, 2000), (2000, 1), (32, 4096), (1, 1), (5, 3), (33, 31), (96, 64), (128, 128))
BOX_SETS: dict[str, list[list[float]]] = {
    'none': [],
    'one': [[4, 6, 50, 58]],
    'no area': [[10, 10, 10, 10]],
    'sub-pixel': [[10.2, 10.3, 10.4, 10.6]],
    'a line': [[0, 10, 63, 10]],
    'larger than the image': [[-1000, -1000, 2000, 2000]],
    'outside': [[200, 200, 300, 300]],
    'far too large': [[-1e30, -1e30, 1e30, 1e30]],
    'inverted': [[40, 40, 10, 10]],
    'five equal': [[4, 4, 40, 40]] * 5,
    '500': [[i % 50, i % 40, i % 50 + 4 + i % 30, i % 40 + 4 + i % 20] for i in range(500)],
}
WEIGHTS = (
    'bbox_head.log_scale',
    'bbox_head.bias0',
    'bbox_head.bias_lang',
    'bbox_head.box.bias',
    'bbox_head.centerness.bias',
    'mask_head.log_scale',
    'mask_head.bias_lang',
    'inter_loss.log_scale',
    'mlm_head.bias',
    'fusion.blocks.0.attention.gamma_image',
    'fusion.blocks.0.attention.image_query.bias',
    'fusion.blocks.0.text_layer.key.bias',
    'fusion.blocks.0.dynamic_conv.offset.bias',
)


def model_cases(seed: int, num_random: int) -> Iterator[Case]:
    """A small detector with all losses: shapes and boxes, weights at their extremes, random combinations."""
    for shape in SHAPES:
        yield _model_case(shape, 'one')
    for boxes in BOX_SETS:
        for dtype in DTYPES:
            yield _model_case((LEAST_SIDE,) * 2, boxes, dtype)
    for weight in WEIGHTS:
        for value in (-1e30, -100.0, 100.0, HALF_MAX, 1e30, float('nan')):
            yield _model_case((64, 64), 'one', None, weight, value)
    generator = random.Random(seed)
    for _ in range(num_random):
        dtype = generator.choice(DTYPES)
        shape = tuple(generator.randint(1 if dtype is None else LEAST_SIDE, 160) for _ in range(2))
        change = (generator.choice(WEIGHTS), generator.choice((-1, 1)) * 10 ** generator.uniform(-30, 30))
        yield _model_case(shape, generator.choice(list(BOX_SETS)), dtype, *(change if generator.random() < 0.5 else ()))


def _model_case(
    shape: tuple[int, int], boxes: str, dtype: torch.dtype | None = None, weight: str | None = None, value: float = 0.0
) -> Case:
    changed = '' if weight is None else f', {weight} = {value:.3g}'
    # temperatures have limits; other weights of such size are a model that has diverged
    must_be_finite = weight is None or ('log_scale' in weight and value == value)
    return Case(
        f'{shape[0]} x {shape[1]} pixels, boxes: {boxes}, {_name(dtype)}{changed}',
        lambda: make_model(shape, boxes, weight, value),
        must_be_finite,
        dtype,
    )


@cache
def detector() -> tuple[nn.Module, dict[str, Tensor]]:
    """The detector, and its weights as they start."""
    model = build_detector(ALL_LOSSES, max_per_img=10).train()
    return model, {name: value.clone() for name, value in model.state_dict().items()}


def make_model(
    shape: tuple[int, int], boxes: str, weight: str | None = None, value: float = 0.0
) -> tuple[nn.Module, dict]:
    """The detector with one parameter filled with ``value``, and a batch of one image after preprocessing."""
    model, start = detector()
    model.load_state_dict(start)
    model.zero_grad()
    if weight is not None:
        nn.init.constant_(model.get_parameter(weight), value)
    torch.manual_seed(0)
    image = torch.randint(0, 255, (3, *shape), dtype=torch.uint8)
    return model.train(), model.data_preprocessor(dict(inputs=[image], data_samples=[sample(shape, boxes)]), True)


def sample(shape: tuple[int, int], boxes: str) -> DetDataSample:
    """One image's ground truth, with a full mask for every box."""
    chosen = BOX_SETS[boxes]
    item = data_sample(NAMES, *shape, boxes=chosen, labels=[i % 2 for i in range(len(chosen))])
    item.gt_instances.masks = BitmapMasks(np.ones((len(chosen), *shape), np.uint8), *shape)
    return item
