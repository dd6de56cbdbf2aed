"""Weights before a training: drawn from one generator by a named scheme, or derived from the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainless.errors import UnknownNameError

if TYPE_CHECKING:
    import torch

    from trainless.data import ImageDataset

__all__ = ["INITIALIZATIONS", "derive_from_data", "initialize"]

INITIALIZATIONS = {
    "kaiming_normal_fan_out": "convolutions Kaiming normal by fan out (He et al. 2015), linear layers as PyTorch",
    "kaiming_normal_fan_in": "convolutions Kaiming normal by fan in (He et al. 2015), linear layers as PyTorch",
    "pytorch": "PyTorch's own: Kaiming uniform by fan in with slope √5",
    "normal": "convolutions and linear layers N(0, 1), biases 0",
}


def initialize(
    network: torch.nn.Module, scheme: str = "kaiming_normal_fan_out", generator: torch.Generator | None = None
) -> None:
    """Draw all weights of a network anew, in the order of its modules; normalisations become 1 and 0.

    Args:
        network: its convolutions, linear layers and normalisations are changed in place; a convolution or linear layer
            that is frozen stays as it is.
        scheme: a name of `INITIALIZATIONS`.
        generator: the source of all randomness; PyTorch's global one where it is None.

    Raises:
        UnknownNameError: the scheme is unknown.

    Example:
        >>> import torch
        >>> network = torch.nn.Conv2d(3, 8, 3, bias=False)
        >>> initialize(network, "normal", torch.Generator().manual_seed(0))
        >>> round(float(network.weight.detach().std()))
        1
    """
    from torch import nn

    if scheme not in INITIALIZATIONS:
        raise UnknownNameError("initialization", scheme, INITIALIZATIONS)
    for module in network.modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            if module.weight.requires_grad:
                _draw(module, scheme, generator)
        elif isinstance(module, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm):
            # Their reset draws nothing, so it leaves the stream alone.
            module.reset_parameters()


def _draw(
    module: torch.nn.modules.conv._ConvNd | torch.nn.Linear, scheme: str, generator: torch.Generator | None
) -> None:
    from torch import nn

    weight, bias = module.weight, module.bias
    if scheme == "normal":
        nn.init.normal_(weight, generator=generator)
    elif scheme == "pytorch" or isinstance(module, nn.Linear):
        nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)
    else:
        fan_out = scheme == "kaiming_normal_fan_out"
        nn.init.kaiming_normal_(
            weight, mode="fan_out" if fan_out else "fan_in", nonlinearity="relu", generator=generator
        )
    if bias is None:
        return
    if scheme == "pytorch" or (isinstance(module, nn.Linear) and scheme != "normal"):
        bound = weight[0].numel() ** -0.5
        nn.init.uniform_(bias, -bound, bound, generator=generator)
    else:
        nn.init.zeros_(bias)


_PIXELS = 2**21  # so many patches tell the few hundred moments of them


def derive_from_data(network: torch.nn.Module, dataset: ImageDataset) -> None:
    """Set the weights that a network does not learn but takes from the images: those of every `Whitening`.

    Labels are not looked at. Of many images those at even distances are taken, so the same images give the same weights
    whatever the seed.

    Args:
        network: changed in place; one without such layers stays as it is.
        dataset: what it is to learn from.

    Example:
        >>> import torch
        >>> from trainless.data import load_data
        >>> from trainless.operations import Whitening
        >>> layer, digits = Whitening(1), load_data("digits")
        >>> derive_from_data(layer, digits)
        >>> values = layer(digits.batch(500).images).transpose(0, 1).flatten(1)
        >>> [round(float(variance), 1) for variance in values.var(1)[:3]]
        [1.0, 1.0, 1.0]
    """
    import torch

    from trainless.operations import Whitening

    layers = [module for module in network.modules() if isinstance(module, Whitening)]
    if not layers:
        return
    step = max(1, len(dataset) * dataset.task.height * dataset.task.width // _PIXELS)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (dataset.mean, dataset.std))
    images = (torch.tensor(dataset.images[::step]).float() / 255 - mean) / std
    for layer in layers:
        layer.derive(images)
