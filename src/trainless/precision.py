"""The precision of convolutions and linear maps in scoring, and which is faster on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainless.errors import InputError
from trainless.passes import PassSpec, Signal, run_passes

__all__ = ["AUTO", "PRECISIONS", "bfloat16_speed", "check_precision", "one_thread"]

PRECISIONS = ("float32", "bfloat16")
AUTO = "auto"
_TURNS = 5
_IMAGES = 16


def check_precision(precision: str, is_double: bool = False, *, others: tuple[str, ...] = ()) -> None:
    """Refuse a precision that is none of `PRECISIONS` and `others`, or does not go with double precision.

    Raises:
        InputError: it cannot be used.

    Example:
        >>> check_precision("bfloat16", is_double=True)
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The precision is 'bfloat16' and the dtype float64, of which one rounds away what \
the other is for: leave one of them out.
    """
    known = (*PRECISIONS, *others)
    if precision not in known:
        raise InputError(f"The precision is '{precision}', expected one of {', '.join(known)}.")
    if is_double and precision != PRECISIONS[0]:
        raise InputError(
            f"The precision is '{precision}' and the dtype float64, of which one rounds away what the other is for: "
            "leave one of them out."
        )


def bfloat16_speed(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Measure how many times as fast a pass over a network, forward and backward, is in bfloat16 as in float32.

    Both are run in turns, in one thread and on a few of the images; the least time of each counts.

    Args:
        network: any network of those to be scored; it is left as it was.
        images: shape ``(images, channels, height, width)``; the device they are on is measured.
        labels: class of each image.

    Returns:
        The ratio; 0 where the network does not run in bfloat16, or not at all.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> bfloat16_speed(network, torch.rand(2, 1, 2, 2), torch.tensor([0, 1])) > 0
        True
    """
    # What else the machine does leaves the time of a thread alone, but a GPU's is none of it.
    clock = time.thread_time if images.device.type == "cpu" else time.perf_counter
    least = {PassSpec(): float("inf"), PassSpec(bfloat16=True): float("inf")}
    with one_thread():
        for _ in range(_TURNS):
            for spec in least:
                start = clock()
                plan = {spec: frozenset({Signal.WEIGHT_GRADIENTS})}
                result = run_passes(network, images[:_IMAGES], labels[:_IMAGES], plan)[spec]
                if result.signals is None or result.failure:
                    return 0.0
                # Reading a number waits for a device that computes on its own.
                float(result.signals.weight_gradients[-1].sum())
                least[spec] = min(least[spec], clock() - start)
    single, half = least.values()
    return single / half


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread, so that sums are added up in the same order wherever a network is scored."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
