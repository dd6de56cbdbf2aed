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
    from trainless.aggregation import Hybrid, aggregate, hybrid, load_aggregate, sweep
    from trainless.automl import ImageClassifier
    from trainless.data import Batch, ImageDataset, load_data
    from trainless.evaluation import score
    from trainless.metrics import evaluate
    from trainless.passes import PassSpec, Signal, Signals
    from trainless.proxies import PROXIES, Proxy, proxy
    from trainless.scoring import Scorer
    from trainless.search import Limits, Search, replay
    from trainless.search_spaces import search_space
    from trainless.store import Run, Store
    from trainless.study import Study, make_study
    from trainless.tables import benchmark_table, published_scores
    from trainless.types import Architecture, Score, Task

# Where each public name lives: importing trainless itself loads none of it, and so not PyTorch.
_HOMES = {
    "aggregation": ("Hybrid", "aggregate", "hybrid", "load_aggregate", "sweep"),
    "automl": ("ImageClassifier",),
    "data": ("Batch", "ImageDataset", "load_data"),
    "metrics": ("evaluate",),
    "passes": ("PassSpec", "Signal", "Signals"),
    "proxies": ("PROXIES", "Proxy", "proxy"),
    "evaluation": ("score",),
    "scoring": ("Scorer",),
    "search": ("Limits", "Search", "replay"),
    "search_spaces": ("search_space",),
    "store": ("Run", "Store"),
    "study": ("Study", "make_study"),
    "tables": ("benchmark_table", "published_scores"),
    "types": ("Architecture", "Score", "Task"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "PROXIES",
    "Architecture",
    "Batch",
    "Hybrid",
    "ImageClassifier",
    "ImageDataset",
    "Limits",
    "PassSpec",
    "Proxy",
    "Run",
    "Score",
    "Scorer",
    "Search",
    "Signal",
    "Signals",
    "Store",
    "Study",
    "Task",
    "aggregate",
    "benchmark_table",
    "evaluate",
    "hybrid",
    "load_aggregate",
    "load_data",
    "make_study",
    "proxy",
    "published_scores",
    "replay",
    "score",
    "search_space",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'trainless' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"trainless.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
