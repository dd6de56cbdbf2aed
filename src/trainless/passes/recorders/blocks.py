"""Recorders of the feature maps between the blocks of a network, and of what each block does to gradients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from trainless.errors import NetworkError
from trainless.passes.recorders.base import Recorder
from trainless.passes.run import Run

__all__ = ["BLOCK_PATHS", "BlockGains", "FeatureSpectra"]

BLOCK_PATHS = "block_paths"
"""The attribute by which a network tells the paths of the modules that end a block."""


class BlockFeatures(Recorder):
    """Sees what each module gives that ends a block: maps of some height and width, in the order in which they run."""

    inputs = frozenset({"batch", "noise"})

    def __init__(self) -> None:
        self._ends: list[nn.Module] = []

    def begin(self, run: Run) -> None:
        """Find the modules that end a block."""
        self._ends = _ends_of_blocks(run.network)

    @contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        """Hook the modules for the time of the passes."""
        with ExitStack() as stack:
            for module in self._ends:
                stack.callback(module.register_forward_hook(self._hook(run)).remove)
            yield

    def _hook(self, run: Run) -> Callable[[nn.Module, Any, Any], None]:
        def on_output(module: nn.Module, inputs: Any, output: Any) -> None:
            is_map = isinstance(output, torch.Tensor) and output.dim() == 4 and output[0, 0].numel() > 1
            if is_map and not run.tracker.recomputes:
                self.take(run, output)

        return on_output

    @abstractmethod
    def take(self, run: Run, features: torch.Tensor) -> None:
        """Take the feature map that a block gave, shape ``(images, channels, height, width)``."""


class FeatureSpectra(BlockFeatures):
    """Computes the eigenvalues of the covariance of each feature map's channels."""

    name = "feature_spectra"

    def __init__(self) -> None:
        super().__init__()
        self._spectra: list[torch.Tensor] = []

    def begin(self, run: Run) -> None:
        """Forget an earlier forward pass."""
        super().begin(run)
        self._spectra = []

    def take(self, run: Run, features: torch.Tensor) -> None:
        """Take its eigenvalues, of which rounding makes none negative."""
        with run.clock(type(self)), torch.no_grad(), torch._C.DisableTorchFunction():
            rows = features.detach().permute(0, 2, 3, 1).reshape(-1, features.shape[1])
            centred = rows - rows.mean(0)
            covariance = (centred.t() @ centred).double() / len(rows)
            is_finite = bool(covariance.isfinite().all())
            self._spectra.append(torch.linalg.eigvalsh(covariance).clamp_min(0) if is_finite else covariance[0])

    def value(self) -> list[torch.Tensor]:
        """One tensor a feature map."""
        return self._spectra


class BlockGains(BlockFeatures):
    """Computes for each block the largest singular value of the mean of g sᵀ over images and positions.

    s are random signs, shaped as what the block gives, and g is the gradient of their inner product with it, with
    respect to what goes into the block.
    """

    name = "block_gains"
    needs_graph = True

    def __init__(self) -> None:
        super().__init__()
        self._features: list[tuple[torch.Tensor, int]] = []
        self._gains: list[float] = []

    def begin(self, run: Run) -> None:
        """Forget an earlier forward pass."""
        super().begin(run)
        self._features = []

    def take(self, run: Run, features: torch.Tensor) -> None:
        """Keep it for the backward passes."""
        if not features.requires_grad:
            features.requires_grad_()
        self._features.append((features, features._version))

    def after_forward(self, run: Run, output: torch.Tensor) -> None:
        """Go back through each block, the last one first."""
        if any(features._version != version for features, version in self._features):
            raise NetworkError("A feature map between two blocks is written over: give its activation inplace=False.")
        features = [features for features, _ in self._features]
        self._features, gains = [], []
        generator = run.streams("signs")
        with run.tracker.recomputing():
            for before, after in zip(features[-2::-1], features[:0:-1], strict=True):
                gains.append(_gain(before, after, generator))
        self._gains = gains[::-1]

    def value(self) -> list[float]:
        """One number a block, infinite for one that does nothing."""
        return self._gains


def _ends_of_blocks(network: nn.Module) -> list[nn.Module]:
    paths = getattr(network, BLOCK_PATHS, None)
    if paths is None:
        raise NetworkError(
            "The network does not tell its blocks: name the modules that end one in an attribute of it, as in "
            f"network.{BLOCK_PATHS} = ('stem', 'layers.0', 'layers.1')."
        )
    modules = dict(network.named_modules())
    missing = next((path for path in paths if path not in modules), None)
    if missing is not None:
        raise NetworkError(f"The network has no module '{missing}', which its {BLOCK_PATHS} name.")
    return [modules[path] for path in paths]


def _gain(before: torch.Tensor, after: torch.Tensor, generator: torch.Generator) -> float:
    # In plain order and single precision, so that the layout and dtype of the pass change nothing.
    halves = torch.full(after.shape, 0.5, dtype=torch.float32)
    signs = after.detach().clone().copy_(2 * torch.bernoulli(halves, generator=generator) - 1)
    (gradient,) = torch.autograd.grad(
        after, before, signs, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    if gradient.shape == signs.shape and bool((gradient == signs).all()):
        return float("inf")
    if gradient.shape[2:] != signs.shape[2:]:
        height, width = signs.shape[2:]
        steps = [round(before / after) for before, after in zip(gradient.shape[2:], signs.shape[2:], strict=True)]
        missing = steps[0] * height - gradient.shape[2], steps[1] * width - gradient.shape[3]
        if any(abs(rows) >= step for rows, step in zip(missing, steps, strict=True)):
            raise NetworkError(
                f"A block makes maps of {tuple(signs.shape[2:])} of such of {tuple(gradient.shape[2:])}, expected the "
                "same size or a whole part of it."
            )
        # 25 rows become 13 or 12: pixels that are not there have no gradient, and what is over is left out.
        gradient = torch.nn.functional.pad(gradient, (0, missing[1], 0, missing[0]))
        # As `pixel_unshuffle` has it, by steps that may differ: networks over time have maps of one row.
        parted = gradient.unflatten(3, (width, steps[1])).unflatten(2, (height, steps[0]))
        gradient = parted.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    rows, columns = (tensor.permute(0, 2, 3, 1).flatten(0, 2) for tensor in (gradient, signs))
    return float(torch.linalg.matrix_norm((rows.t() @ columns).double() / len(rows), 2))
