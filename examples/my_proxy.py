"""A proxy of one's own: how evenly the gradients of the loss are spread over the layers.

    trainless suite --data digits --table my_table.csv --proxies params --proxy my_proxy.py:MY_PROXY

Everything that trainless asks of a proxy is in the record below: a formula that turns signals into one number, what it
reads, and under which conditions that is measured. `trainless.testing.ProxyContract` tests it.
"""

from __future__ import annotations

import math

from trainless.passes import PassSpec, Signal, Signals
from trainless.proxies import Proxy


def evenness(signals: Signals) -> float:
    """Entropy of the layers' shares of the squared gradient; at most the logarithm of the number of layers."""
    squares = [float(gradient.double().square().sum()) for gradient in signals.weight_gradients]
    total = sum(squares)
    if total == 0:
        return math.nan
    return -sum(square / total * math.log(square / total) for square in squares if square > 0)


MY_PROXY = Proxy(
    "evenness",
    evenness,
    PassSpec(),  # the labelled batch, weights as they are, normalised by the batch
    frozenset({Signal.WEIGHT_GRADIENTS}),
    data_independent=False,
    paper="an example",
    summary="how evenly the gradient is spread over the layers",
    when_not_finite="no gradient reaches a weight",
)
