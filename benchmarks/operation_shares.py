"""What the seconds of scoring a network go into: shares of the kinds of operations, in one process of one thread.

    python benchmarks/operation_shares.py [--cells 10] [--batch-size 64] [--precision float32]

Seeded NAS-Bench-201 cells are scored on CIFAR-10 images (from TRAINLESS_DATA) under PyTorch's profiler, once by all
proxies of the thesis and once by all but grasp; an operation counts without what it calls. What the profiler itself
takes is in it, mostly under Python and the like.
"""

from __future__ import annotations

import argparse

import torch
from common import data_folder, machine, print_table
from speed import SETS, SPACE, WARM_UP, sample
from torch.profiler import ProfilerActivity, profile

from trainless.scoring import Scorer

KINDS = {
    "convolutions, backward": ("convolution_backward", "conv2d_backward"),
    "convolutions, forward": ("mkldnn_convolution", "conv2d_forward", "aten::convolution", "aten::_convolution"),
    "normalisations, both ways": ("batch_norm", "BatchNorm"),
    "activation functions, both ways": ("threshold", "clamp", "relu", "Relu"),
    "poolings, both ways": ("pool",),
    "matrix products": ("aten::mm", "addmm", "bmm", "linalg"),
    "sums, products and copies": (
        "aten::add", "aten::mul", "aten::sub", "aten::sum", "aten::copy_", "aten::div", "aten::pow", "aten::abs",
        "aten::fill_", "aten::cat", "aten::mean", "aten::sign", "aten::log",
    ),
}  # fmt: skip
REST = "random numbers, Python and the rest"


def main() -> None:
    """Score, and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", default="float32", help="float32, bfloat16 or auto")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cells, shares = sample(arguments.cells), dict[str, dict[str, float]]()
    for label, names in SETS.items():
        scorer = Scorer(
            SPACE, names, data_folder() / "cifar-10-batches-bin", batch_size=arguments.batch_size,
            precision=arguments.precision, workers=0,
        )  # fmt: skip
        scorer.score(WARM_UP)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            scorer.score(cells)
        shares[label] = shares_of(profiled)
    print(f"{machine()}; batch {arguments.batch_size} of CIFAR-10, {len(cells)} NAS-Bench-201 cells, one thread, "
          f"{arguments.precision}\n")  # fmt: skip
    print_table(
        ("operations", *(label.replace("_", " ") for label in shares)),
        [(kind, *(f"{100 * found[kind]:.0f} %" for found in shares.values())) for kind in (*KINDS, REST)],
    )


def shares_of(profiled: profile) -> dict[str, float]:
    """The share of each kind in the time of the processor."""
    times = dict.fromkeys((*KINDS, REST), 0.0)
    for event in profiled.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), REST)
        times[kind] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: time / total for kind, time in times.items()}


if __name__ == "__main__":
    main()
