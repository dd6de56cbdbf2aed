"""All that a version of trainless says of the published search spaces, as plain data that two versions can compare.

`facts` covers what a genotype decides (strings, order, classes, moves with their draws, costs, pictures, names of
weights), `scores` what seeded networks get from every proxy. `tools/spaces_before.py` writes both to the table of
`tests/spaces_before.json.gz`, which `tests/test_search_spaces_before.py` holds the spaces to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from trainless.proxies import PROXIES
from trainless.scoring import Scorer
from trainless.search_spaces import search_space
from trainless.types import Task

SPACES: dict[str, tuple[str, dict[str, int]]] = {
    "nasbench201": ("nasbench201", {}),
    "nasbench201 of 8 x 2": ("nasbench201", {"channels": 8, "cells": 2}),
    "nasbench201 of 4 x 1": ("nasbench201", {"channels": 4, "cells": 1}),
    "mobile": ("mobile", {}),
    "mobile of 8 x 3": ("mobile", {"width": 8, "depth": 3}),
    "mobile of 4 x 1": ("mobile", {"width": 4, "depth": 1}),
}
TASKS = (
    Task("cifar10", 10),
    Task("digits", 10, 1, 8, 8),
    Task("ImageNet16-120", 120, 3, 16, 16),
    Task("odd", 3, 2, 13, 31),
    Task("photos", 7, 3, 128, 160),
)
SAMPLES = 40


def digest(texts: Iterable[object]) -> str:
    """A hash of many values by what they print."""
    return hashlib.sha256("\n".join(map(str, texts)).encode()).hexdigest()


def facts(key: str) -> dict[str, Any]:
    """What a space says without running a network."""
    name, options = SPACES[key]
    space = search_space(name, **options)
    rng = np.random.default_rng(16)
    drawn = [space.sample(rng) for _ in range(SAMPLES)]
    pairs = list(zip(drawn, drawn[1:] + drawn[:1], strict=True))
    every = list(space) if space.size < 20_000 else drawn
    return {
        "label": space.label,
        "options": dict(space.options),
        "size": space.size,
        "choices": [list(options) for options in space.choices],
        "drawn": [str(one) for one in drawn],
        "genotypes": [list(one.genotype) for one in drawn],
        "indices": [space.index(one) for one in drawn],
        "order": digest(every),
        "canonical": [str(space.canonical(one)) for one in drawn],
        "classes": digest(space.canonical(one) for one in every),
        "mutated": [str(space.mutate(one, rng)) for one in drawn],
        "crossed": [str(space.crossover(a, b, rng)) for a, b in pairs],
        "neighbors": [digest(space.neighbors(one)) for one in drawn],
        "rng": int(rng.integers(2**62)),  # as many draws were taken before
        "encoded": [[value.hex() for value in map(float, space.encode(one))] for one in drawn],
        "parameters": {task.name: [space.parameters(one, task) for one in drawn] for task in TASKS},
        "flops": {task.name: [space.flops(one, task) for one in drawn] for task in TASKS},
        "all parameters": {task.name: digest(space.parameters(one, task) for one in every) for task in TASKS},
        "all flops": {task.name: digest(space.flops(one, task) for one in every) for task in TASKS},
        "spans": [list(space.skip_spans(one)) for one in drawn],
        "all spans": digest(space.skip_spans(one) for one in every),
        "graphs": [[list(edge) for edge in space.graph(one)] for one in drawn],
        "drawings": [space.draw(one) for one in drawn],
        "all pictures": digest((*map(tuple, space.graph(one)), space.draw(one)) for one in every[:3000]),
        "sizes": [str(size) for size in space.sizes],
        "thin": str(space.thin()),
        "resized": [str(space.resized(share)) for share in (0.1, 0.25, 0.5, 0.75, 1)],
        "states": [_state(space, one, task) for one, task in zip(drawn, TASKS * SAMPLES, strict=False)],
        "state": _keys(space, drawn[0], TASKS[0]),
    }


def _keys(space: Any, architecture: Any, task: Task) -> list[str]:
    with torch.device("meta"):
        network = space.build(architecture, task)
    return [f"{key} {tuple(value.shape)}" for key, value in network.state_dict().items()]


def _state(space: Any, architecture: Any, task: Task) -> str:
    """The weights in their order, and the modules as they print."""
    with torch.device("meta"):
        network = space.build(architecture, task)
    names = [
        f"{name} {type(module).__name__}" for name, module in network.named_modules() if not list(module.children())
    ]
    return digest([*_keys(space, architecture, task), *names])


def scores(key: str, dtype: str = "float64", count: int = 3) -> dict[str, dict[str, str]]:
    """Every proxy of some seeded networks, as hexadecimal numbers that lose nothing."""
    name, options = SPACES[key]
    space = search_space(name, **options)
    rng = np.random.default_rng(61)
    drawn = [space.sample(rng) for _ in range(count)]
    scorer = Scorer(space, sorted(PROXIES), "digits", batch_size=16, dtype=dtype, workers=0)
    table = scorer.score(drawn)
    return {str(one): {proxy: float(table.loc[str(one), proxy]).hex() for proxy in table.columns} for one in drawn}
