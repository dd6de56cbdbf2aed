"""What every zero-cost proxy has to hold to."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from trainless.estimators import distinct_sample
from trainless.evaluation import EquivalenceClass, score_class
from trainless.proxies import Proxy
from trainless.proxies import proxy as look_up
from trainless.scoring import Scorer
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.types import Architecture, Score

__all__ = ["ProxyContract"]


class ProxyContract:
    """What every proxy has to hold to; a subclass whose name starts with ``Test`` is collected by pytest.

    Attributes:
        proxy: the proxy under test, or its name.
        space: whose networks are scored; small ones keep it quick.
        count: networks that each test scores.
        images: of the digits in the batch.
        company: proxies that are scored beside it, whose passes it shares or not.
        tolerance: relative difference that single precision may make.

    Example:
        >>> class TestMine(ProxyContract):
        ...     proxy = "snip"
        >>> TestMine().test_neither_order_nor_company_change_it()
    """

    proxy: str | Proxy
    space: SearchSpace = search_space("nasbench201", channels=4, cells=1)
    count: int = 3
    images: int = 20
    company: str = "snip, nwot, logsynflow, zen, params"
    tolerance: float = 0.02

    def sample(self) -> list[Architecture]:
        """Draw what is scored."""
        return distinct_sample(self.space, self.count, 0, "contract")

    def scores(
        self, architectures: Sequence[Architecture], company: Iterable[str | Proxy] = (), *, dtype: str = "float32",
        batch_seed: int = 0,
    ) -> list[Score]:  # fmt: skip
        """Score architectures by the proxy, among others, with the weights of seed 0."""
        chosen, wanted = [*company, self.proxy], look_up(self.proxy).name
        settings, other = (
            Scorer(self.space, chosen, batch_size=self.images, seed=seed, workers=0, dtype=dtype).protocol
            for seed in (0, batch_seed)
        )
        settings = replace(settings, images=other.images, labels=other.labels)
        found = []
        for architecture in architectures:
            names = frozenset(look_up(member).name for member in chosen)
            unit = EquivalenceClass(self.space.canonical(architecture), ((architecture, names),))
            found += [score for score in score_class(settings, unit) if score.proxy == wanted]
        return found

    def test_the_record_is_complete(self) -> None:
        """It says what it measures, where the formula comes from, and which version of it this is."""
        record = look_up(self.proxy)
        assert record.name.strip() == record.name != "", "the name is empty or has spaces around it"
        assert not set(record.name) & set(",()= "), f"'{record.name}' cannot be named among others"
        assert record.paper.strip(), "the paper is not named"
        assert record.summary.strip(), "there is no summary"
        assert "\n" not in record.summary, "the summary is more than a line"
        assert record.when_not_finite.strip(), "no reason is given where the value is not finite"
        assert record.version >= 1, f"the version is {record.version}"

    def test_each_network_gets_a_value_or_a_reason(self) -> None:
        """What is not finite has a reason, and nothing fails; not all networks get the same."""
        found = self.scores(self.sample())
        assert len(found) == self.count, f"{len(found)} scores of {self.count} networks"
        for score in found:
            assert score.status != "failed", f"{score.architecture} failed: {score.reason}"
            assert math.isfinite(score.value) != bool(score.reason), f"a value or a reason was expected: {score}"
            assert score.seconds >= 0, f"the time is negative: {score}"
        assert len({_bits(score) for score in found}) > 1, "all networks have the same score"

    def test_the_same_again(self) -> None:
        """The same seed gives the same score to the last bit, whatever the global random state is."""
        import torch

        some = self.sample()
        first = [_bits(score) for score in self.scores(some)]
        torch.manual_seed(1)
        np.random.seed(1)
        torch_state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].tolist()
        assert [_bits(score) for score in self.scores(some)] == first, "the second time there are other scores"
        assert torch.equal(torch.get_rng_state(), torch_state), "the random state of PyTorch was changed"
        after = np.random.get_state(legacy=False)["state"]["key"].tolist()
        assert after == numpy_state, "the random state of NumPy was changed"

    def test_neither_order_nor_company_change_it(self) -> None:
        """Scored the last first, and with other proxies before it, the scores are those alone."""
        some = self.sample()
        alone = [_bits(score) for score in self.scores(some)]
        own = look_up(self.proxy).name
        company = [name for name in self.company.replace(" ", "").split(",") if name != own]
        together = [_bits(score) for score in self.scores(some[::-1], company)]
        assert together[::-1] == alone, "order or company change the scores"

    def test_the_network_is_left_alone(self) -> None:
        """Weights, gradients, buffers, modes and hooks are as before."""
        import torch

        from trainless.errors import NetworkError
        from trainless.evaluation import score
        from trainless.types import Task

        task = Task("toy", classes=3, height=8, width=8)
        network = self.space.build(self.sample()[0], task)
        network.train()
        for number, module in enumerate(network.modules()):
            module.training = number % 2 == 0
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(self.images, *task.input_shape, generator=generator)
        labels = torch.arange(self.images) % task.classes
        next(network.parameters()).grad = torch.ones_like(next(network.parameters()))
        before = _state(network)
        kept = images.clone(), labels.clone()
        with suppress(NetworkError):  # what a network by itself does not have, such as an architecture's skips
            score(network, images, labels, proxies=[self.proxy])
        assert _state(network) == before, "the network was changed"
        assert torch.equal(images, kept[0]), "the images were changed"
        assert torch.equal(labels, kept[1]), "the labels were changed"

    def test_single_precision_agrees_with_double(self) -> None:
        """Scores in single precision are those in double up to `tolerance`, and finite where those are."""
        some = self.sample()
        for single, double in zip(self.scores(some), self.scores(some, dtype="float64"), strict=True):
            assert math.isfinite(single.value) == math.isfinite(double.value), f"{single} is {double} in double"
            if math.isfinite(double.value):
                near = math.isclose(single.value, double.value, rel_tol=self.tolerance, abs_tol=1e-6)
                assert near, f"{single.value} in single precision is {double.value} in double"

    def test_images_count_where_it_says_so(self) -> None:
        """Other images change the scores of a data-dependent proxy, and no score of a data-independent one."""
        some = self.sample()
        first, other = ([_bits(score) for score in self.scores(some, batch_seed=seed)] for seed in (0, 1))
        if look_up(self.proxy).data_independent:
            assert first == other, "it is data-independent, and other images give other scores"
        else:
            assert first != other, "it is data-dependent, and other images give the same scores"


def _bits(score: Score) -> bytes:
    return struct.pack("<d", math.nan if math.isnan(score.value) else score.value)


def _state(network: object) -> list[object]:
    """All of a network that a pass could change."""
    import torch

    assert isinstance(network, torch.nn.Module)
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return [
        *((name, id(tensor), tensor.requires_grad, tensor.detach().numpy().tobytes()) for name, tensor in tensors),
        *(None if tensor.grad is None else tensor.grad.numpy().tobytes() for tensor in network.parameters()),
        *(
            (name, module.training, len(module._forward_hooks), len(module._forward_pre_hooks),
             len(module._backward_hooks), sorted(module.__dict__))
            for name, module in network.named_modules()
        ),
    ]  # fmt: skip
