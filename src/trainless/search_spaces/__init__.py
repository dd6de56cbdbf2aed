"""Search spaces by name."""

from __future__ import annotations

from trainless.search_spaces.autoformer import AutoFormer
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.chain import Chain
from trainless.search_spaces.convnet import ConvNet
from trainless.search_spaces.darts import DARTS
from trainless.search_spaces.finite import FiniteSpace
from trainless.search_spaces.hierarchical import Hierarchical
from trainless.search_spaces.mlp import MLP
from trainless.search_spaces.mobile import Mobile
from trainless.search_spaces.nasbench101 import NASBench101
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.search_spaces.nasbench_asr import NASBenchASR
from trainless.search_spaces.nasbench_macro import NASBenchMacro
from trainless.search_spaces.nasbench_nlp import NASBenchNLP
from trainless.search_spaces.nats_size import NATSSize
from trainless.search_spaces.pretrained import Pretrained
from trainless.search_spaces.product import ProductSpace
from trainless.search_spaces.transnas_macro import TransNASMacro
from trainless.search_spaces.transnas_micro import TransNASMicro
from trainless.specs import look_up, refuse_options

__all__ = ["SEARCH_SPACES", "FiniteSpace", "ProductSpace", "SearchSpace", "search_space"]

SEARCH_SPACES: dict[str, type[SearchSpace]] = {
    "nasbench201": NASBench201,
    "nasbench101": NASBench101,
    "nats_size": NATSSize,
    "darts": DARTS,
    "nasbench_macro": NASBenchMacro,
    "nasbench_asr": NASBenchASR,
    "nasbench_nlp": NASBenchNLP,
    "transnas_macro": TransNASMacro,
    "transnas_micro": TransNASMicro,
    "mobile": Mobile,
    "convnet": ConvNet,
    "chain": Chain,
    "mlp": MLP,
    "autoformer": AutoFormer,
    "hierarchical": Hierarchical,
    "pretrained": Pretrained,
}


def search_space(name: str | SearchSpace, **options: int | float | str) -> SearchSpace:
    """Look a search space up by its name and build it with options; an object is given back as it is.

    Args:
        name: a name of `SEARCH_SPACES`, with options in parentheses or without; or a `SearchSpace`.
        options: the same options as values.

    Raises:
        UnknownNameError: no search space has that name.
        InputError: an option is wrong, or options are given with an object.

    Example:
        >>> search_space("nasbench201(channels=8)").spec
        'nasbench201(channels=8, cells=5)'
        >>> search_space("nasbench201", channels=8) == search_space("nasbench201(channels=8, cells=5)")
        True
    """
    if isinstance(name, SearchSpace):
        refuse_options("search space", options)
        return name
    return look_up("search space", name, SEARCH_SPACES, options)()
