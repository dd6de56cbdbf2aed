"""Inference cost of a network: latency, measured on this machine, and peak memory, counted on the meta device."""

from __future__ import annotations

import copy
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainless.errors import InputError
from trainless.seeding import generator, preserve_rng_state

if TYPE_CHECKING:
    import torch

__all__ = ["Latency", "is_out_of_memory", "limited_threads", "measure_latency", "peak_memory", "usable_device"]

_LEAST_SECONDS = 0.1  # a shorter measurement is at the mercy of one interruption
_MOST_SECONDS = 1.0
_MOST_THREADS = 1024


@dataclass(frozen=True)
class Latency:
    """Measured latency of an inference on this machine.

    Args:
        milliseconds: median time of one batch.
        low: lower quartile, in milliseconds.
        high: upper quartile, in milliseconds.
        repeats: number of timed runs.
        batch: images in the batch.
        threads: threads that PyTorch had for one operation.
        device: where the network ran.

    Example:
        >>> str(Latency(2.5, 2.4, 2.75, repeats=40, batch=1, threads=1, device="cpu"))
        '2.50 ms (2.40 to 2.75) for a batch of 1 on cpu, 1 thread(s), median of 40 runs'
    """

    milliseconds: float
    low: float
    high: float
    repeats: int
    batch: int
    threads: int
    device: str

    def __str__(self) -> str:
        return (
            f"{self.milliseconds:.2f} ms ({self.low:.2f} to {self.high:.2f}) for a batch of {self.batch} on "
            f"{self.device}, {self.threads} thread(s), median of {self.repeats} runs"
        )


@contextmanager
def limited_threads(number: int) -> Iterator[None]:
    """Give PyTorch this number of threads for one operation, and on leaving the number that it had.

    Raises:
        InputError: the number is below 1, or so high that the process might be ended by it.

    Example:
        >>> import torch
        >>> with limited_threads(1):
        ...     torch.get_num_threads()
        1
    """
    import torch

    if not 1 <= number <= _MOST_THREADS:
        raise InputError(f"The number of threads is {number}, expected 1 to {_MOST_THREADS}.")
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure_latency(
    network: torch.nn.Module,
    input_shape: Sequence[int],
    *,
    batch: int = 1,
    threads: int = 1,
    device: str = "cpu",
    warm_up: int = 3,
    repeats: int = 20,
) -> Latency:
    """Measure the latency of an inference: the median of repeated runs after a warm-up.

    A copy of the network runs in eval mode on random images, in the layout and precision that the network has; the
    network, PyTorch's number of threads and its random state stay as they were. Runs are repeated until there are
    `repeats` of them and 0.1 s have passed, but not for longer than a second.

    Args:
        network: any module that maps a batch of images to its output.
        input_shape: shape of one image: channels, height, width.
        batch: images in the batch.
        threads: threads that PyTorch may use for one operation.
        device: where to run, as PyTorch names it.
        warm_up: runs before the first that counts, at least 1.
        repeats: runs that are wanted.

    Raises:
        InputError: a number is below 1, the device cannot be used, or the network does not take such images.

    Example:
        >>> import torch
        >>> latency = measure_latency(torch.nn.Conv2d(3, 8, 3), (3, 32, 32), batch=2)
        >>> 0 < latency.low <= latency.milliseconds <= latency.high, latency.batch
        (True, 2)
    """
    import torch

    for name, value in {"batch": batch, "warm_up": warm_up, "repeats": repeats}.items():
        if value < 1:
            raise InputError(f"{name} is {value}, expected at least 1: latency is measured on whole images and runs.")
    target = usable_device(device)
    shape = (batch, *_checked(input_shape))
    with preserve_rng_state(), limited_threads(threads), torch.inference_mode(), _explained(network, shape):
        moved = copy.deepcopy(network).to(target).eval()
        images = torch.randn(shape, generator=generator(0, "latency")).to(target, _precision(network))
        seconds = _timed(lambda: moved(images), target, warm_up, repeats)
    low, median, high = (float(value) for value in 1000 * np.quantile(seconds, [0.25, 0.5, 0.75]))
    return Latency(median, low, high, len(seconds), batch, threads, str(target))


def peak_memory(network: torch.nn.Module, input_shape: Sequence[int]) -> int:
    """Compute the peak memory of an inference of one image, in bytes: weights, buffers, and most activations at once.

    A copy of the network runs in eval mode without arithmetic (on PyTorch's meta device), in the precision that the
    network has, and every tensor counts from the operation that makes it to the moment when nothing refers to it any
    more. The image counts throughout. What shares memory counts once: views, results in place, tied weights. What a
    kernel needs inside itself is not seen.

    Args:
        network: any module that maps a batch of images to its output, without looking at their values.
        input_shape: shape of one image: channels, height, width.

    Raises:
        InputError: the network does not take such images, or cannot run without arithmetic.

    Example:
        >>> import torch
        >>> peak_memory(torch.nn.Linear(3, 2, bias=False), (3,))  # 6 weights, 3 inputs, 2 outputs of 4 bytes
        44
    """
    import torch

    tensors = (*network.parameters(), *network.buffers())
    # A copy that finds the tensors' stand-ins in the memo keeps shared ones shared and copies no numbers.
    bare = copy.deepcopy(network, {id(tensor): torch.empty_like(tensor, device="meta") for tensor in tensors}).eval()
    shape = (1, *_checked(input_shape))
    image = torch.empty(shape, dtype=_precision(network), device="meta")
    with preserve_rng_state(), torch.no_grad(), _explained(network, shape):
        return _peak(lambda: bare(image), [*bare.parameters(), *bare.buffers(), image])


def _peak(run: Callable[[], object], present: Iterable[torch.Tensor]) -> int:
    """Run something, and give the most bytes of tensors that were alive at once, those already present included."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    alive: dict[int, int] = {}
    peak = 0

    def track(values: object) -> None:
        nonlocal peak
        for leaf in tree_leaves(values):
            if not isinstance(leaf, torch.Tensor):
                continue
            storage = leaf.untyped_storage()
            if storage._cdata not in alive:
                alive[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, alive.pop, storage._cdata)
        peak = max(peak, sum(alive.values()))

    class Tracker(TorchDispatchMode):
        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = operation(*args, **(kwargs or {}))
            # In eval mode a batch normalisation has no statistics of the batch; without arithmetic it gives some.
            bare = operation is torch.ops.aten.native_batch_norm.default and not args[5]
            track(result[0] if bare else result)
            return result

    track(list(present))
    with Tracker():  # type: ignore[no-untyped-call]
        run()
    return peak


def _timed(run: Callable[[], object], device: torch.device, warm_up: int, repeats: int) -> list[float]:
    import torch

    def finish() -> None:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    for _ in range(warm_up):
        run()
    finish()
    seconds: list[float] = []
    start = now = time.perf_counter()
    while (len(seconds) < repeats or now - start < _LEAST_SECONDS) and now - start < _MOST_SECONDS:
        run()
        finish()
        before, now = now, time.perf_counter()
        seconds.append(now - before)
    return seconds


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether something failed for want of memory.

    Example:
        >>> is_out_of_memory(RuntimeError("CUDA out of memory.")), is_out_of_memory(RuntimeError("a bug"))
        (True, False)
    """
    return isinstance(error, MemoryError) or any(
        words in str(error).lower() for words in ("out of memory", "can't allocate memory")
    )


def usable_device(device: str) -> torch.device:
    """Look a device up by PyTorch's name for it.

    Raises:
        InputError: there is none of that name here, or it computes nothing.

    Example:
        >>> usable_device("cpu")
        device(type='cpu')
    """
    import torch

    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()  # a device may have a name and not be there, or have no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"The device '{device}' cannot be used here: give cpu or one that this machine has."
        ) from error
    return found


def _precision(network: torch.nn.Module) -> torch.dtype:
    import torch

    return next((tensor.dtype for tensor in network.parameters() if tensor.is_floating_point()), torch.float32)


def _checked(input_shape: Sequence[int]) -> tuple[int, ...]:
    if not input_shape or min(input_shape) < 1:
        raise InputError(f"The shape of an image is {tuple(input_shape)}, expected numbers of at least 1.")
    return tuple(input_shape)


@contextmanager
def _explained(network: torch.nn.Module, shape: Sequence[int]) -> Iterator[None]:
    """Turn whatever a network raises into one sentence."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"The {type(network).__name__} does not take images of shape {tuple(shape)} ({reason}): give the shape "
            "that it is built for."
        ) from error
