"""How one process times what it was given: warm-up, counted runs, peak memory; on a CPU or a CUDA device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True)
class Measured:
    """What one process found.

    Attributes:
        seconds: of each counted run.
        peak_mb: most memory at one time, in 10 ** 6 bytes, see :func:`peak_bytes`.
        checksum: mean size of the numbers in a run's result; None where it has none. It tells whether two forms that
            should compute the same do.
    """

    seconds: tuple[float, ...]
    peak_mb: float
    checksum: float | None


def measure(run: Callable[[], object], device: torch.device, repeats: int, warmup: int = 1) -> Measured:
    """Time ``repeats`` runs after ``warmup`` others (a measurement of memory comes first and warms up, too)."""
    peak = peak_bytes(run, device)
    for _ in range(warmup):
        result = run()
    seconds = tuple(seconds_of(run, device) for _ in range(repeats))
    checksum = float(result.detach().double().abs().mean()) if isinstance(result, Tensor) else None
    return Measured(seconds, peak / 1e6, checksum)


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """One run; on a CUDA device between two events on its stream, which its own clock times."""
    if device.type == 'cuda':
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize(device)
        return start.elapsed_time(end) / 1000
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_bytes(run: Callable[[], object], device: torch.device | str = 'cpu') -> int:
    """Most bytes of tensors at one time during a run.

    On a CPU above what was there before, as torch's allocator reports it; on a CUDA device weights and all
    (``torch.cuda.max_memory_allocated``), which is what has to fit.
    """
    run()  # what is made once stays out of the count
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == '[memory]']
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
