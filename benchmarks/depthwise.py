"""Print what the gradients of a depthwise convolution's weights take, by PyTorch's way and by that of a training here.

    python benchmarks/depthwise.py [--batch 32] [--threads 1]

The shapes are those of EfficientNet-Lite0 at 64 and 96 pixels and of the space `mobile` at 32. The way of
`trainless.training` is taken only where the map is smaller than the kernel. The least of eight times counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from common import machine, print_table

from trainless.training.convolutions import mended_convolutions

# Channels, kernel, stride, rows and columns of the input.
SHAPES = (
    (480, 5, 1, 4), (672, 5, 1, 4), (672, 5, 2, 4), (672, 5, 1, 3), (240, 3, 1, 2), (480, 7, 1, 4), (672, 5, 1, 6),
    (480, 3, 1, 4), (144, 5, 2, 16), (96, 3, 2, 32),
)  # fmt: skip
TIMES = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{machine()}; batches of {arguments.batch}, {arguments.threads} thread(s), milliseconds\n")
    rows = [(*map(str, shape), *measured(*shape, arguments.batch)) for shape in SHAPES]
    print_table(("channels", "kernel", "stride", "input", "output", "weights' gradient", "here", "times"), rows)


def measured(channels: int, kernel: int, stride: int, size: int, batch: int) -> tuple[str, ...]:
    """Measure one shape."""
    layer = torch.nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, channels, size, size).contiguous(memory_format=torch.channels_last)
    forward = shortest(lambda: layer(images))
    usual = shortest(lambda: layer(images).sum().backward()) - forward
    with mended_convolutions(layer):
        here = shortest(lambda: layer(images).sum().backward()) - forward
    return f"{forward:.2f}", f"{usual:.2f}", f"{here:.2f}", f"{usual / here:.1f}"


def shortest(compute: Callable[[], object]) -> float:
    """The least of several times, in milliseconds."""
    compute()
    times = []
    for _ in range(TIMES):
        start = time.perf_counter()
        compute()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


if __name__ == "__main__":
    main()
