"""Print for how many steps to a larger network the function can be kept, and how well it is kept, space by space.

    python benchmarks/morphisms.py [--networks 25] [--steps 4]

A step is to a neighbor with more parameters. Networks are drawn by a seed, and have drawn statistics and gains.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch
from common import machine, print_table
from torch import nn

from trainless.morphism import can_morph, morph
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.blueprint import Blueprint
from trainless.types import Task

TASK = Task("toy", 5, height=16, width=16)
SPACES = (
    "mobile(width=4, depth=3)", "mlp(unit=2)", "nats_size(unit=2)", "chain(unit=2)", "nasbench_macro(width=4)",
    "convnet(unit=2)", "transnas_micro(channels=4)", "transnas_macro(channels=4)", "nasbench201(channels=4, cells=2)",
    "nasbench101(channels=5, cells=1)", "darts(channels=4, layers=3)", "nasbench_asr(width=4)",
    "hierarchical(channels=4)", "autoformer(unit=2)",
)  # fmt: skip


def main() -> None:
    """Count, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=25, help="networks of each space")
    parser.add_argument("--steps", type=int, default=4, help="steps from each")
    arguments = parser.parse_args()
    print(f"{machine()}\n")
    rows = []
    for spec in SPACES:
        tried, kept, seconds, worst = 0, 0, 0.0, 0.0
        for before, after in larger(search_space(spec), arguments.networks, arguments.steps):
            start = time.perf_counter()
            kept += (holds := can_morph(before, after))
            seconds += time.perf_counter() - start
            tried += 1
            if holds:
                worst = max(worst, difference(before, after, tried))
        rows.append([spec, tried, kept / max(tried, 1), f"{worst:.0e}", f"{1000 * seconds / max(tried, 1):.0f}"])
    print_table(["space", "steps", "share that keeps the function", "largest difference", "ms to tell"], rows)


def larger(space: SearchSpace, networks: int, steps: int) -> Iterator[tuple[Blueprint, Blueprint]]:
    """Give steps from drawn networks to neighbors with more parameters."""
    rng = np.random.default_rng(0)
    for _ in range(networks):
        architecture = space.canonical(space.sample(rng))
        before = space.blueprint(architecture, TASK)
        neighbors = [space.canonical(neighbor) for neighbor in space.neighbors(architecture)]
        blueprints = [space.blueprint(neighbor, TASK) for neighbor in dict.fromkeys(neighbors)]
        steps_up = [after for after in blueprints if after.parameters > before.parameters]
        for index in rng.permutation(len(steps_up))[:steps]:
            yield before, steps_up[index]


def difference(before: Blueprint, after: Blueprint, seed: int) -> float:
    """Compute the largest difference of outputs in single precision."""
    torch.manual_seed(seed)
    network, images = before.build().eval(), torch.randn(4, *TASK.input_shape)
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.running_mean.normal_(0, 0.3)
                norm.running_var.uniform_(0.3, 2)
                if norm.affine:
                    norm.weight.normal_(1, 0.4)
                    norm.bias.normal_(0, 0.4)
        return float((network(images) - morph(network, before, after)(images)).abs().max())


if __name__ == "__main__":
    main()
