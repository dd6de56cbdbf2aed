"""Contract tests to inherit: whoever writes a space, a strategy or an estimator gets its tests by naming it.

Example:
    >>> from trainless.search_spaces import search_space
    >>> class TestMine(SearchSpaceContract):
    ...     space = search_space("nasbench201", channels=4, cells=1)
    >>> TestMine().test_canonical_is_idempotent()
"""

from trainless.testing.estimators import EstimatorContract
from trainless.testing.spaces import FiniteSpaceContract, ProductSpaceContract, SearchSpaceContract
from trainless.testing.strategies import StrategyContract

__all__ = [
    "EstimatorContract",
    "FiniteSpaceContract",
    "ProductSpaceContract",
    "SearchSpaceContract",
    "StrategyContract",
]
