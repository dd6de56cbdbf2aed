"""Find a good neural network without training the candidates.

Example:
    >>> import trainless
    >>> space = trainless.search_space("nasbench201")
    >>> space.size
    15625
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainless.aggregation import hybrid
    from trainless.data import Batch, ImageDataset, load_data
    from trainless.evaluation import score
    from trainless.proxies import PROXIES, Proxy, proxy
    from trainless.scoring import Scorer
    from trainless.search_spaces import search_space
    from trainless.signals import PassSpec, Signal, Signals
    from trainless.store import Run, Store
    from trainless.types import Architecture, Score, Task

# Where each public name lives: importing trainless itself loads none of it, and so not PyTorch.
_HOMES = {
    "aggregation": ("hybrid",),
    "data": ("Batch", "ImageDataset", "load_data"),
    "proxies": ("PROXIES", "Proxy", "proxy"),
    "evaluation": ("score",),
    "scoring": ("Scorer",),
    "search_spaces": ("search_space",),
    "signals": ("PassSpec", "Signal", "Signals"),
    "store": ("Run", "Store"),
    "types": ("Architecture", "Score", "Task"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "PROXIES",
    "Architecture",
    "Batch",
    "ImageDataset",
    "PassSpec",
    "Proxy",
    "Run",
    "Score",
    "Scorer",
    "Signal",
    "Signals",
    "Store",
    "Task",
    "hybrid",
    "load_data",
    "proxy",
    "score",
    "search_space",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'trainless' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"trainless.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
