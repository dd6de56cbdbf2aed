"""Contract tests to inherit, for whoever writes a space, proxy, strategy, estimator, store or table.

Example:
    >>> from trainless.search_spaces import search_space
    >>> class TestMine(SearchSpaceContract):
    ...     space = search_space("nasbench201", channels=4, cells=1)
    >>> TestMine().test_canonical_is_idempotent()
"""

from trainless.testing.estimators import EstimatorContract
from trainless.testing.proxies import ProxyContract
from trainless.testing.spaces import FiniteSpaceContract, ProductSpaceContract, SearchSpaceContract
from trainless.testing.stores import StoreContract
from trainless.testing.strategies import StrategyContract
from trainless.testing.tables import TableContract

__all__ = [
    "EstimatorContract",
    "FiniteSpaceContract",
    "ProductSpaceContract",
    "ProxyContract",
    "SearchSpaceContract",
    "StoreContract",
    "StrategyContract",
    "TableContract",
]
