"""The figures of the thesis on the Hybrid proxy, tables 6.1 to 6.7, as printed there."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BEST_WEIGHTS", "DATASETS", "RECORD", "SUITE_ZERO_SPEARMAN", "THESIS", "Figure"]

DATASETS = ("cifar10", "cifar100", "ImageNet16-120")

BEST_WEIGHTS = (0.5, 1.5)
"""Alpha and beta of figure 6.1 and tables 6.5 to 6.7: the smallest that reach the thesis's best correlations."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of a table of the thesis.

    Args:
        table: its number.
        dataset: data set of NAS-Bench-201.
        proxy: trainless's name of the proxy, or ``"hybrid"``.
        kendall: Kendall's tau, two decimals.
        spearman: Spearman's rho, two decimals.
        top_accuracy: accuracy in percent of the architecture ranked first, where the thesis tells it.

    Example:
        >>> THESIS[0].proxy
        'logsynflow'
    """

    table: str
    dataset: str
    proxy: str
    kendall: float
    spearman: float
    top_accuracy: float | None = None


_CORRELATIONS = {
    "6.2": ("cifar10", {
        "nwot": (0.58, 0.77), "logsynflow": (0.56, 0.76), "jacov": (0.56, 0.73), "synflow": (0.54, 0.73),
        "epe_nas": (0.54, 0.72), "l2_norm": (0.49, 0.68), "snip": (0.43, 0.59), "grad_norm": (0.42, 0.59),
        "grasp": (0.33, 0.48), "fisher": (0.37, 0.51), "zen": (0.27, 0.35), "plain": (-0.12, -0.24),
    }),
    "6.3": ("cifar100", {
        "nwot": (0.62, 0.80), "logsynflow": (0.59, 0.79), "synflow": (0.57, 0.76), "jacov": (0.54, 0.71),
        "l2_norm": (0.52, 0.71), "epe_nas": (0.51, 0.69), "snip": (0.47, 0.63), "grad_norm": (0.47, 0.63),
        "fisher": (0.40, 0.55), "grasp": (0.38, 0.54), "zen": (0.28, 0.36), "plain": (-0.16, -0.23),
    }),
    "6.4": ("ImageNet16-120", {
        "nwot": (0.60, 0.78), "logsynflow": (0.58, 0.77), "synflow": (0.56, 0.75), "jacov": (0.54, 0.71),
        "l2_norm": (0.50, 0.69), "snip": (0.43, 0.58), "grad_norm": (0.43, 0.58), "grasp": (0.39, 0.55),
        "fisher": (0.37, 0.49), "epe_nas": (0.35, 0.51), "zen": (0.29, 0.40), "plain": (-0.15, -0.22),
    }),
}  # fmt: skip

THESIS: tuple[Figure, ...] = (
    Figure("6.1", "cifar10", "logsynflow", 0.61, 0.81),
    Figure("6.1", "cifar100", "logsynflow", 0.60, 0.79),
    Figure("6.1", "ImageNet16-120", "logsynflow", 0.59, 0.78),
    *(
        Figure(table, dataset, proxy, *values)
        for table, (dataset, proxies) in _CORRELATIONS.items()
        for proxy, values in proxies.items()
    ),
    Figure("6.5", "cifar10", "hybrid", 0.62, 0.81, 90.74),
    Figure("6.5", "cifar10", "nwot", 0.58, 0.77, 88.95),
    Figure("6.5", "cifar10", "logsynflow", 0.56, 0.76, 90.36),
    Figure("6.6", "cifar100", "hybrid", 0.65, 0.84, 70.88),
    Figure("6.6", "cifar100", "nwot", 0.62, 0.80, 68.62),
    Figure("6.6", "cifar100", "logsynflow", 0.59, 0.79, 71.34),
    Figure("6.7", "ImageNet16-120", "hybrid", 0.64, 0.82, 45.73),
    Figure("6.7", "ImageNet16-120", "nwot", 0.60, 0.78, 45.9),
    Figure("6.7", "ImageNet16-120", "logsynflow", 0.58, 0.77, 41.23),
)
"""Every row of the tables; 6.1 is quoted there from FreeREA's paper."""

SUITE_ZERO_SPEARMAN: dict[str, dict[str, float]] = {
    "cifar10": {
        "nwot": 0.77, "jacov": 0.75, "synflow": 0.73, "epe_nas": 0.70, "l2_norm": 0.68, "snip": 0.58,
        "grad_norm": 0.58, "grasp": 0.51, "fisher": 0.50, "zen": 0.35, "plain": -0.26,
    },
    "cifar100": {
        "nwot": 0.80, "synflow": 0.76, "jacov": 0.71, "l2_norm": 0.72, "epe_nas": 0.60, "snip": 0.63,
        "grad_norm": 0.63, "fisher": 0.54, "grasp": 0.54, "zen": 0.35, "plain": -0.21,
    },
    "ImageNet16-120": {
        "nwot": 0.77, "synflow": 0.75, "jacov": 0.71, "l2_norm": 0.69, "snip": 0.57, "grad_norm": 0.57,
        "grasp": 0.55, "fisher": 0.48, "epe_nas": 0.51, "zen": 0.39, "plain": -0.22,
    },
}  # fmt: skip
"""Spearman's rho of NAS-Bench-Suite-Zero (Krishnakumar et al., 2022), as tables 6.2 to 6.4 quote it."""

RECORD: dict[str, tuple[float, float]] = {
    "cifar10": (0.750, 0.919),
    "cifar100": (0.753, 0.919),
    "ImageNet16-120": (0.743, 0.906),
}
"""Kendall's tau and Spearman's rho of VKDNW_agg (CVPR 2025), the highest published without any accuracy in use."""
