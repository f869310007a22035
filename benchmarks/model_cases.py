"""The whole-model cases of ``benchmarks/run.py --suite gpu``: frames per second, training, memory, kernels.

They run on a CPU too, where a small model tries them out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import product

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.fresh_process import WorkerSettings
from benchmarks.random_models import build_random, caption_sample, class_sample, random_images, training_sample
from benchmarks.timing import measure

#: Runs before those that count: cuDNN chooses its algorithms, clocks go up.
WARMUP = 3
#: Kernels that a table lists.
NUM_KERNELS = 15
#: Images per GPU in training, as in the paper where it says so (T: 2, B and H: 1).
TRAINING_BATCH = {'nano': 2, 't': 2, 'b': 1, 'h': 1}
OUT_OF_MEMORY = 'out of memory'
PROMPTS = {'classes': class_sample, 'caption': caption_sample}


@dataclass(frozen=True)
class ModelCase:
    """One figure of one model.

    Attributes:
        task: ``infer``, ``train``, or ``infer_kernels``, ``train_kernels``, which profile instead of timing.
        model: ``nano``, ``t``, ``b`` or ``h``.
        batch: images at once.
        precision: ``bf16`` (autocast) or ``fp32``.
        prompt: ``classes`` (COCO's 80) or ``caption`` (8 words).
        height: of the images, before padding to multiples of 32.
        width: likewise.
    """

    task: str
    model: str
    batch: int
    precision: str
    prompt: str = 'classes'
    height: int = 800
    width: int = 1333

    @property
    def name(self) -> str:
        return f'{self.task}_{self.model}_b{self.batch}_{self.precision}_{self.prompt}'

    @property
    def trains(self) -> bool:
        return self.task.startswith('train')

    @property
    def text(self) -> str:
        """What ``from_text`` reads back."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_text(text: str) -> ModelCase:
        return ModelCase(**json.loads(text))


def all_cases(
    models: Iterable[str], batches: Iterable[int], precisions: Iterable[str], height: int, width: int
) -> list[ModelCase]:
    """Inference in every combination, training in every precision, kernels in the first precision."""
    models, precisions = list(models), list(precisions)
    size = dict(height=height, width=width)
    cases = [ModelCase('infer', *settings, **size) for settings in product(models, batches, precisions, PROMPTS)]
    cases += [
        ModelCase('train', model, TRAINING_BATCH[model], precision, **size)
        for model, precision in product(models, precisions)
    ]
    cases += [
        ModelCase(task, model, TRAINING_BATCH[model] if task.startswith('train') else 1, precisions[0], **size)
        for model, task in product(models, ('infer_kernels', 'train_kernels'))
    ]
    return cases


def measure_case(text: str, settings: WorkerSettings) -> dict:
    """Figures of one case; one that does not fit into the memory of the device says so."""
    case, device = ModelCase.from_text(text), torch.device(settings.device)
    try:
        run = (training_step if case.trains else inference)(case, device)
        if case.task.endswith('kernels'):
            return dict(kernels=top_kernels(run, device))
        return asdict(measure(run, device, settings.repeats, WARMUP))
    except torch.cuda.OutOfMemoryError:
        return dict(error=OUT_OF_MEMORY)


def inference(case: ModelCase, device: torch.device) -> Callable[[], None]:
    """From normalised pixels and texts to boxes: text encoding, suppression and all."""
    detector = build_random(case.model, device)
    images = random_images(case.batch, case.height, case.width, device)

    @torch.inference_mode()
    def run() -> None:
        samples = [PROMPTS[case.prompt](case.height, case.width) for _ in range(case.batch)]
        with _precision(case, device):
            detector.predict(images, samples)

    return run


def training_step(case: ModelCase, device: torch.device) -> Callable[[], None]:
    """Forward, backward and the optimizer of a pre-training step with all losses of the model's config."""
    detector = build_random(case.model, device, training=True)
    images = random_images(case.batch, case.height, case.width, device)
    samples = [training_sample(case.height, case.width, device) for _ in range(case.batch)]
    optimizer = torch.optim.AdamW((p for p in detector.parameters() if p.requires_grad), lr=1e-5)

    def run() -> None:
        optimizer.zero_grad()
        with _precision(case, device):
            losses = detector.loss(images, samples)
        sum(losses.values()).backward()
        optimizer.step()

    return run


def top_kernels(run: Callable[[], object], device: torch.device) -> list[dict]:
    """What the time of a run goes to: the longest kernels of a CUDA device, or operations on a CPU.

    Returns:
        Per kernel ``name``, ``ms``, ``calls`` and ``percent`` of the time of all kernels, longest first.
    """
    for _ in range(WARMUP):
        run()
    on_cuda = device.type == 'cuda'
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_cuda) as profiler:
        run()
        if on_cuda:
            torch.cuda.synchronize(device)
    kind = DeviceType.CUDA if on_cuda else DeviceType.CPU
    events = [event for event in profiler.key_averages() if event.device_type == kind and not event.is_user_annotation]
    microseconds = [event.self_device_time_total if on_cuda else event.self_cpu_time_total for event in events]
    total = max(sum(microseconds), 1e-9)
    longest = sorted(zip(microseconds, events, strict=True), key=lambda pair: -pair[0])[:NUM_KERNELS]
    return [
        dict(name=event.key, ms=round(time / 1000, 3), calls=event.count, percent=round(100 * time / total, 2))
        for time, event in longest
    ]


def _precision(case: ModelCase, device: torch.device) -> AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16, enabled=case.precision == 'bf16')
