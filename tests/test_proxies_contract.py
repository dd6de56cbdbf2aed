"""Every proxy holds to the contract, and the contract finds what breaks it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from trainless.errors import InputError, UnknownNameError
from trainless.passes import Signals
from trainless.proxies import PROXIES, Proxy, proxy
from trainless.testing import ProxyContract


def test_the_regularised_swap_has_a_name() -> None:
    found = proxy("swap:0.3+-5e-05")
    assert found.name == "swap:0.3±5e-05"
    assert proxy(found.name).name == found.name
    few, many = (found.formula(Signals(distinct_patterns=8, parameters=count)) for count in (300, 307))
    assert few == 8
    assert many == pytest.approx(8 * math.exp(-(0.007**2) / 5e-5))
    with pytest.raises(InputError, match=r"The variance of a regularised SWAP score is 0\.0"):
        proxy("swap:300±0")
    with pytest.raises(UnknownNameError, match="There is no proxy 'swap:300±-1'"):
        proxy("swap:300±-1")


def test_a_gradient_that_is_no_number_is_no_zico() -> None:
    """Equal gradients are left out, what is not finite is not: it would be a score of the rest."""
    zico = PROXIES["zico"].formula
    parts = [[torch.tensor([1.0, 2.0])], [torch.tensor([3.0, 2.0])]]
    assert zico(Signals(part_gradients=parts)) == pytest.approx(math.log(2))
    parts[0][0][1] = math.nan
    assert math.isnan(zico(Signals(part_gradients=parts)))


@pytest.mark.slow
class TestProxies(ProxyContract):
    @pytest.fixture(autouse=True, params=PROXIES)
    def _proxy(self, request: pytest.FixtureRequest) -> None:
        self.proxy = request.param
        if request.param in ("ridge_loo", "lda_loo"):
            self.images = 100  # a share of few images has few values


COUNTER = itertools.count()
GRAD_NORM, PARAMS = proxy("grad_norm"), proxy("params")


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (replace(GRAD_NORM, name="mine", paper=" "), ProxyContract.test_the_record_is_complete),
        (replace(GRAD_NORM, name="a, b"), ProxyContract.test_the_record_is_complete),
        (replace(GRAD_NORM, name="mine", formula=lambda signals: float("nan"), when_not_finite=""),
         ProxyContract.test_each_network_gets_a_value_or_a_reason),
        (replace(GRAD_NORM, name="mine", formula=lambda signals: 1.0),
         ProxyContract.test_each_network_gets_a_value_or_a_reason),
        (replace(GRAD_NORM, name="mine", formula=lambda signals: float(torch.rand(()))),
         ProxyContract.test_the_same_again),
        (replace(GRAD_NORM, name="mine", formula=lambda signals: float(next(COUNTER))),
         ProxyContract.test_neither_order_nor_company_change_it),
        (replace(GRAD_NORM, name="mine", data_independent=True), ProxyContract.test_images_count_where_it_says_so),
        (replace(PARAMS, name="mine", data_independent=False), ProxyContract.test_images_count_where_it_says_so),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_found(broken: Proxy, test: Callable[[ProxyContract], None]) -> None:
    contract = ProxyContract()
    contract.proxy = broken
    with pytest.raises(AssertionError):
        test(contract)
