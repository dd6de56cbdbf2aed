"""What is measured of layers and blocks, against the plainest way to compute it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainless import score
from trainless.errors import NetworkError
from trainless.evaluation import Scores
from trainless.passes import PassSpec, Signal, Signals, plan_passes, run_passes
from trainless.passes.recorders.blocks import _gain
from trainless.proxies import proxy
from trainless.search_spaces import SEARCH_SPACES, search_space
from trainless.types import Task

IMAGES = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 4
PLAIN = ("near", "meco", "meco_opt", "intrain", "ncd", "trainable_layers", "vkdnw_dimension")


class Small(nn.Module):
    """Two blocks and a branch that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(6, 10, 3, 2, 1, bias=False), nn.BatchNorm2d(10), nn.ReLU())
        self.dead = nn.Conv2d(6, 10, 1)
        self.head = nn.Linear(10, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits."""
        features = self.stem(images)
        self.dead(features)
        return self.head(self.body(features).mean((2, 3)))


@pytest.fixture
def network() -> Small:
    torch.manual_seed(1)
    return Small().double()


@pytest.fixture
def outputs(network: Small) -> list[torch.Tensor]:
    """What the convolutions and the linear map give."""
    first = network.stem[0](IMAGES.double())
    second = network.body[0](network.stem(IMAGES.double()))
    return [first, second, network(IMAGES.double())]


def measured(network: nn.Module, *names: str) -> Scores:
    return score(network, IMAGES.to(next(network.parameters()).dtype), LABELS, proxies=list(names))


def rows_of(output: torch.Tensor) -> np.ndarray:
    return output.detach().movedim(1, -1).reshape(-1, output.shape[1]).numpy()


def test_near(network: Small, outputs: list[torch.Tensor]) -> None:
    expected = 0.0
    for output in outputs:
        rows = rows_of(output)
        values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
        shares = values / values.sum()
        expected += math.exp(-float((shares * np.log(shares)).sum()))
    assert measured(network, "near")["near"] == pytest.approx(expected, rel=1e-9)


def test_meco(network: Small, outputs: list[torch.Tensor]) -> None:
    maps = [output[0].flatten(1).detach().numpy() for output in outputs[:2]]  # of one position there is no correlation
    expected = sum(np.linalg.eigvalsh(np.corrcoef(rows))[0] for rows in maps)
    found = measured(network, "meco", "meco_opt")
    assert found["meco"] == pytest.approx(expected, rel=1e-9)
    assert found["meco_opt"] > 0


def test_meco_of_few_channels_is_that_of_all(network: Small) -> None:
    correlations = [torch.eye(3), 0.5 * torch.eye(8) + 0.5]
    found = [proxy(name).compute(Signals(first_image_correlations=correlations))[0] for name in ("meco", "meco_opt")]
    assert found == pytest.approx([1.5, 1.5])


def test_intrain(network: Small, outputs: list[torch.Tensor]) -> None:
    covariances = [np.cov(rows_of(output), rowvar=False, bias=True) for output in outputs]
    spread = sum(math.log(np.trace(matrix) ** 2 / np.square(matrix).sum()) for matrix in covariances)
    F.cross_entropy(network(IMAGES.double()), LABELS).backward()
    weights = (network.stem[0], network.body[0], network.head)
    gradients = [layer.weight.grad.numpy() for layer in weights]
    order = sum(min(1.0, gradient.std() / (np.abs(gradient).max() + 1e-8)) for gradient in gradients)
    # The branch that nothing reads is no layer, and its gradient of zeros adds nothing.
    expected = spread * (1 + order) / math.log(4)
    assert measured(network, "intrain")["intrain"] == pytest.approx(expected, rel=1e-6)


def test_intrain_on_noise_has_labels_of_its_own(network: Small) -> None:
    first, again = (score(network.float(), IMAGES, proxies="intrain:noise") for _ in range(2))
    assert first["intrain:noise"] == again["intrain:noise"]
    assert math.isfinite(first["intrain:noise"])


def test_ncd_sees_a_twentieth_of_the_units_and_no_batch(network: Small) -> None:
    everything = run(network, PassSpec(batch_norm="layer"))
    masked = run(network, PassSpec(batch_norm="layer", masked=0.95))
    units = 6 * 144 + 10 * 36
    assert everything.diagonal().tolist() == masked.diagonal().tolist() == [units] * 8
    off = masked[~torch.eye(8, dtype=torch.bool)] / units
    assert float(off.min()) > 0.9  # units that are off in both agree
    assert float(off.max()) < 1
    alone = run(network, PassSpec(batch_norm="layer"), IMAGES[:2])
    assert torch.equal(alone, everything[:2, :2])  # no image has a part in another's code


def run(network: nn.Module, spec: PassSpec, images: torch.Tensor = IMAGES) -> torch.Tensor:
    result = run_passes(network.float(), images, None, {spec: frozenset({Signal.RELU_KERNEL})})[spec]
    assert not result.failure
    kernel: torch.Tensor = result.signals.relu_kernel
    return kernel


def test_layers_that_learn(network: Small) -> None:
    for parameter in network.stem.parameters():
        parameter.requires_grad_(False)
    assert measured(network, "trainable_layers", "vkdnw_dimension") == {"trainable_layers": 2, "vkdnw_dimension": 11}


@pytest.mark.parametrize("name", PLAIN)
def test_company_and_layout_change_nothing(network: Small, name: str) -> None:
    network.float()
    alone = measured(network, name)[name]
    together = measured(network.to(memory_format=torch.channels_last), "fisher", "snip", "jacov", *PLAIN)[name]
    assert together == alone


class TestBlocks:
    def test_without_blocks_it_says_how_to_name_them(self, network: Small) -> None:
        found = measured(network, "az_expressivity", "nwot")
        assert math.isnan(found["az_expressivity"])
        assert "network.block_paths = ('stem', 'layers.0', 'layers.1')" in found.reasons["az_expressivity"]
        assert "az_expressivity" not in score(network.float(), IMAGES, LABELS)

    def test_expressivity_and_progressivity(self, network: Small) -> None:
        network.block_paths = ("stem", "body")
        maps = [network.stem(IMAGES.double()), network.body(network.stem(IMAGES.double()))]
        entropies = []
        for features in maps:
            values = np.linalg.eigvalsh(np.cov(rows_of(features), rowvar=False, bias=True)).clip(0)
            shares = values[values > 0] / values.sum()
            entropies.append(-float((shares * np.log(shares)).sum()))
        found = measured(network, "az_expressivity", "az_progressivity")
        assert found["az_expressivity"] == pytest.approx(sum(entropies))
        assert found["az_progressivity"] == pytest.approx(entropies[1] - entropies[0])
        assert {"az_expressivity", "az_trainability"} <= set(score(network.float(), IMAGES, LABELS))

    def test_a_block_that_does_nothing_has_no_part(self) -> None:
        torch.manual_seed(0)
        blocks = [nn.Conv2d(3, 4, 3, padding=1), nn.Identity(), nn.Conv2d(4, 4, 3, padding=1)]
        network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
        network.block_paths = ("0", "1", "2")
        found = measured(network, "az_trainability", "az_trainability:published")
        assert math.isfinite(found["az_trainability"])
        assert found["az_trainability:published"] == -math.inf
        network.block_paths = ("0", "1")
        assert math.isnan(measured(network, "az_trainability")["az_trainability"])

    @pytest.mark.parametrize(("rows", "kernel", "padding"), [(5, 3, 1), (5, 2, 0), (7, 3, 1), (6, 2, 0)])
    def test_maps_that_are_no_whole_part(self, rows: int, kernel: int, padding: int) -> None:
        """5 rows become 3 or 2: what lacks is 0, what is over is left out, and the rest stays where it is."""
        before = torch.randn(4, 3, rows, rows, generator=torch.Generator().manual_seed(0)).requires_grad_()
        after = F.conv2d(before, torch.ones(2, 3, kernel, kernel), stride=2, padding=padding)
        found = _gain(before, after, torch.Generator().manual_seed(1))
        signs = 2 * torch.bernoulli(torch.full(after.shape, 0.5), generator=torch.Generator().manual_seed(1)) - 1
        (gradient,) = torch.autograd.grad(after, before, signs)
        missing = 2 * after.shape[-1] - rows
        parted = F.pixel_unshuffle(F.pad(gradient, (0, missing, 0, missing)), 2).movedim(1, -1).flatten(0, 2)
        columns = signs.movedim(1, -1).flatten(0, 2)
        expected = torch.linalg.matrix_norm(parted.T.double() @ columns.double() / len(columns), 2)
        assert found == pytest.approx(float(expected), rel=1e-6)

    def test_maps_of_a_size_that_no_block_makes(self) -> None:
        before = torch.randn(4, 3, 5, 5).requires_grad_()
        after = F.interpolate(before, size=(12, 12))
        with pytest.raises(NetworkError, match=r"A block makes maps of \(12, 12\) of such of \(5, 5\)"):
            _gain(before, after, torch.Generator().manual_seed(1))

    def test_a_block_that_lets_nothing_through(self, network: Small) -> None:
        network.block_paths = ("stem", "body")
        nn.init.zeros_(network.body[0].weight)
        found = measured(network, "az_trainability", "az_expressivity")
        assert found == {"az_trainability": -math.inf, "az_expressivity": -math.inf}

    def test_features_that_are_written_over_are_refused(self, network: Small) -> None:
        network.body.insert(0, nn.ReLU(inplace=True))
        network.block_paths = ("stem", "body")
        found = measured(network, "az_trainability", "nwot")
        assert "A feature map between two blocks is written over" in found.reasons["az_trainability"]

    def test_wrong_paths(self, network: Small) -> None:
        network.block_paths = ("stem", "nowhere")
        assert "no module 'nowhere'" in measured(network, "az_expressivity", "nwot").reasons["az_expressivity"]

    @pytest.mark.parametrize("name", [name for name in SEARCH_SPACES if name not in ("pretrained", "mlp")])
    def test_networks_of_spaces_tell_their_blocks(self, name: str) -> None:
        space = search_space(name)
        small = space.sizes[-1]
        network = small.build(small.sample(np.random.default_rng(0)), Task("toy", 4, height=32, width=32))
        assert set(network.block_paths) <= {path for path, _ in network.named_modules()}
        record = proxy("az_expressivity")
        images = torch.randn(4, 3, 32, 32)
        result = run_passes(network, images, None, plan_passes([record]))[record.pass_spec]
        assert not result.failure
        assert len(result.signals.feature_spectra) >= 2
