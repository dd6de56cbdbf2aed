"""Aggregations with names of their own, which stand wherever names of proxies do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trainless.aggregation.aggregates import Aggregate, Hybrid, LogRankSum, MaximumSum, Product
from trainless.errors import UnknownNameError

__all__ = ["AZ_FLOW", "NAMED_AGGREGATES", "PAPERS", "ROBUST", "named_aggregate"]

ROBUST = ("flops", "nwot", "az_expressivity", "az_expressivity:uniform", "az_trainability")
"""What the aggregation ``robust`` joins, the last counting half; docs/robust.md tells how it was chosen."""

AZ_FLOW = (
    "flops", "logsynflow", "jacov:uniform", "az_expressivity:uniform", "az_progressivity:uniform",
    "az_trainability:uniform",
)  # fmt: skip
"""What ``az_flow`` joins: the four of AZ-NAS with synaptic flow and the correlation of Jacobians."""

NAMED_AGGREGATES: Mapping[str, Callable[[], Aggregate]] = {
    "hybrid": Hybrid,
    "freerea": MaximumSum,
    "flops_nwot": lambda: Product(("flops", "nwot")),
    "az_nas": lambda: LogRankSum(("az_expressivity", "az_progressivity", "az_trainability", "flops")),
    "vkdnw_agg": lambda: LogRankSum(("vkdnw", "jacov", "az_expressivity", "az_trainability", "flops")),
    "az_flow": lambda: LogRankSum(AZ_FLOW),
    "robust": lambda: LogRankSum(ROBUST, halved=ROBUST[-1:]),
}
"""What makes each: the Hybrid of LogSynflow and NWOT (the thesis); FreeREA's sum (Cavagnero et al., WACV 2023); the
product of multiply-adds and NWOT; AZ-NAS (Lee and Ham, CVPR 2024); VKDNW's (Tybl and Neumann, CVPR 2025); AZ-NAS's with
two more, for NAS-Bench-201; and the one that holds on all benchmarks."""


PAPERS: Mapping[str, str] = {
    "hybrid": "the thesis, chapter 5",
    "freerea": "Cavagnero et al., FreeREA: Training-Free Evolution-Based Architecture Search, WACV 2023",
    "flops_nwot": "",
    "az_nas": "Lee and Ham, AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search, CVPR 2024",
    "vkdnw_agg": "Tybl and Neumann, Training-free NAS through Variance of Knowledge of Deep Network Weights, CVPR 2025",
    "az_flow": "",
    "robust": "",
}
"""Where each was published; empty for those that were not."""


def named_aggregate(name: str) -> Aggregate:
    """Make an aggregation by its name.

    Raises:
        UnknownNameError: none has that name.

    Example:
        >>> named_aggregate("freerea").proxies
        ('nwot', 'logsynflow', 'skipped_layers')
    """
    if name not in NAMED_AGGREGATES:
        raise UnknownNameError("aggregation", name, NAMED_AGGREGATES)
    return NAMED_AGGREGATES[name]()
