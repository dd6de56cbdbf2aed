"""Gradients by image: those of one backward pass are those of as many networks that see one image each."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainless.evaluation import plan_passes, score
from trainless.passes import Signals, run_passes
from trainless.passes.recorders import image_gradients
from trainless.proxies import proxy

IMAGES = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 3, 0])


class Shared(nn.Module):
    """One convolution that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(F.relu(self.body(F.relu(self.body(x)))).mean((2, 3)))


class Tokens(nn.Module):
    """Linear maps of the patches of an image, with the patches among the rows or beside them."""

    def __init__(self, is_flat: bool) -> None:
        super().__init__()
        self.is_flat = is_flat
        self.patches, self.mix, self.head = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.is_flat:
            return self.head(F.gelu(self.mix(x.reshape(-1, 6))).reshape(len(x), -1, 6).mean(1))
        return self.head(F.gelu(self.mix(x)).mean(1))


NETWORKS = {
    "normalised": nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, 1, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    ),
    "shared": Shared(),
    "tokens": Tokens(is_flat=False),
    "tokens among rows": Tokens(is_flat=True),
}  # fmt: skip


def measured(network: nn.Module, names: str) -> dict[str, Signals]:
    chosen = [proxy(name) for name in names.split()]
    results = run_passes(network, IMAGES, LABELS, plan_passes(chosen))
    assert [result.failure for result in results.values()] == [""]
    return {record.name: results[record.pass_spec].signals for record in chosen}  # type: ignore[misc]


def alone(network: nn.Module, number: int, with_loss: bool) -> list[torch.Tensor]:
    """Gradients of one image by a batch of one."""
    output = network.train()(IMAGES[number : number + 1])
    value = F.cross_entropy(output, LABELS[number : number + 1]) if with_loss else output.sum()
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    return [gradient.flatten() for gradient in torch.autograd.grad(value, weights)]


@pytest.mark.parametrize("numbers", [2**24, 200], ids=["at once", "in pieces"])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_they_are_those_of_batches_of_one(network: nn.Module, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_gradients, "_NUMBERS", numbers)
    network = network.double()
    found = measured(network, "gradsign ntk_condition")
    rows = torch.stack([torch.cat(alone(network, number, with_loss=False)) for number in range(len(IMAGES))])
    kernel = found["ntk_condition"].tangent_kernel
    assert kernel is not None
    torch.testing.assert_close(kernel, rows @ rows.t())
    signs = [torch.stack([alone(network, number, with_loss=True)[place].sign() for number in range(len(IMAGES))]).sum(0)
             for place in range(len(found["gradsign"].gradient_signs))]  # fmt: skip
    for one, other in zip(found["gradsign"].gradient_signs, signs, strict=True):
        assert sorted(one.abs().tolist()) == sorted(other.abs().tolist())


def test_what_cannot_be_seen_is_refused() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(192, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) @ self.weight

    with pytest.raises(Exception, match="The weight 'weight' is used otherwise than in a convolution"):
        score(Product().double(), IMAGES, LABELS, proxies="gradsign")


def test_maps_of_one_value_cannot_be_normalised_by_themselves() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 4)).double()
    with pytest.raises(Exception, match="has nothing to normalise an image by: give larger images"):
        score(network, IMAGES, LABELS, proxies="ntk_condition")
