"""Make any network and any batch ready to be scored, or refuse them with one sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from trainless.errors import NetworkError
from trainless.passes import parts_of_output

__all__ = ["PreparedBatch", "distinct_images", "prepare_batch", "prepare_network"]

# The batch.


@dataclass(frozen=True)
class PreparedBatch:
    """A batch that was checked, without copies and blank images.

    Args:
        inputs: what the network is called with: the images alone, or several inputs with a row an image each.
        labels: class of each image, or None.
        note: one sentence on what was left out, or empty.
        defect: why no proxy can read these images, or empty.
    """

    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor | None
    note: str
    defect: str


def prepare_batch(images: Any, labels: Any = None) -> PreparedBatch:
    """Check images and labels, and leave out images that are copies of another or blank.

    Args:
        images: floating-point numbers, shape ``(images, ...)``, at least two; a tuple of inputs of that many rows each
            for a network that takes several, of which one at least is floating-point.
        labels: class of each image as a whole number.

    Raises:
        NetworkError: they cannot be scored; the message says why.

    Example:
        >>> batch = prepare_batch(torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 3.0], [4.0, 4.0]]))
        >>> batch.inputs[0].tolist()
        [[1.0, 2.0], [0.0, 3.0]]
        >>> batch.note
        'Of 4 images 1 copy and 1 blank image are left out: they cannot tell networks apart.'
    """
    inputs = tuple(map(_tensor, images)) if isinstance(images, tuple) else (_tensor(images),)
    _check_inputs(inputs)
    labels = _checked_labels(labels, inputs[0])
    _refuse_not_finite(inputs)
    kept, note = distinct_images(*inputs)
    defect = ""
    if int(kept.sum()) < 2:
        defect = f"the batch has {int(kept.sum())} of at least 2 images that are neither copies nor blank"
    elif note:
        inputs = tuple(tensor[kept.to(tensor.device)] for tensor in inputs)
        labels = None if labels is None else labels[kept.to(labels.device)]
    return PreparedBatch(inputs, labels, note, defect)


def _tensor(values: Any, what: str = "images") -> torch.Tensor:
    try:
        tensor: torch.Tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise NetworkError(
            f"The {what} are a {type(values).__name__}, expected a tensor (or a tuple of tensors as the images of a "
            "network that takes several inputs)."
        ) from error
    return tensor.clone() if tensor.is_inference() else tensor


def _check_inputs(inputs: tuple[torch.Tensor, ...]) -> None:
    if not any(tensor.is_floating_point() for tensor in inputs):
        kinds = ", ".join(str(tensor.dtype) for tensor in inputs)
        raise NetworkError(f"The images are {kinds}, expected normalised floating-point numbers: convert them.")
    for tensor in inputs:
        if tensor.dim() < (2 if tensor.is_floating_point() else 1) or len(tensor) < 2:
            raise NetworkError(
                f"The images have shape {tuple(tensor.shape)}, expected at least two in the first dimension."
            )
        if len(tensor) != len(inputs[0]):
            raise NetworkError(
                f"The inputs have {len(inputs[0])} and {len(tensor)} rows, expected one an image in each of them."
            )


def _checked_labels(labels: Any, images: torch.Tensor) -> torch.Tensor | None:
    if labels is None:
        return None
    classes = _tensor(labels, "labels").to(images.device)
    if classes.shape != (len(images),) or classes.is_floating_point():
        raise NetworkError(
            f"The labels are {classes.dtype} of shape {tuple(classes.shape)}, expected ({len(images)},) whole numbers."
        )
    return classes.long()


def _refuse_not_finite(inputs: tuple[torch.Tensor, ...]) -> None:
    for tensor in inputs:
        if tensor.is_floating_point() and not tensor.is_meta:
            broken = (~tensor.isfinite()).flatten(1).any(1)
            if broken.any():
                raise NetworkError(
                    f"{int(broken.sum())} of {len(tensor)} images hold NaN or infinite numbers, the first of them "
                    f"image {int(broken.int().argmax())}, counted from 0: mend them or leave them out."
                )


def distinct_images(*inputs: torch.Tensor) -> tuple[torch.Tensor, str]:
    """Tell for each image whether it is neither a copy of an earlier one nor blank, and say how many are not.

    Blank means that no channel varies. Two images that no network tells apart make the kernels of `nwot` and `jacov`
    singular for every network.

    Args:
        inputs: the images, shape ``(images, channels, ...)``, or several inputs, of which a copy repeats every one.

    Example:
        >>> kept, note = distinct_images(torch.arange(6.0).view(3, 2))
        >>> kept.tolist(), note
        ([True, True, True], '')
    """
    images = len(inputs[0])
    if any(tensor.is_meta for tensor in inputs):
        return torch.ones(images, dtype=torch.bool), ""
    blank = torch.stack([_blank(tensor) for tensor in inputs if tensor.is_floating_point()]).all(0)
    rows = [tensor.detach().cpu().contiguous().flatten(1) if tensor.dim() > 1 else tensor.detach().cpu()[:, None]
            for tensor in inputs]  # fmt: skip
    first: dict[bytes, int] = {}
    copies = torch.zeros(images, dtype=torch.bool)
    for image in range(images):
        digest = hashlib.blake2b(digest_size=16)
        for tensor in rows:
            digest.update(tensor[image].contiguous().view(torch.uint8).numpy().tobytes())
        copies[image] = first.setdefault(digest.digest(), image) != image
    copies &= ~blank
    counts = [
        f"{number} {noun if number == 1 else plural}"
        for number, noun, plural in (
            (int(copies.sum()), "copy", "copies"), (int(blank.sum()), "blank image", "blank images"),
        ) if number
    ]  # fmt: skip
    left_out = " and ".join(counts)
    verb = "is" if int((copies | blank).sum()) == 1 else "are"
    note = f"Of {images} images {left_out} {verb} left out: they cannot tell networks apart." if counts else ""
    return ~(copies | blank), note


def _blank(images: torch.Tensor) -> torch.Tensor:
    channels = images.detach().flatten(2) if images.dim() > 2 else images.detach()[:, None]
    if channels.shape[2] == 1:
        channels = images.detach().flatten(1)[:, None]
    constant = (channels == channels[:, :, :1]).flatten(1).all(1) & (channels.shape[2] > 1)
    return constant.cpu()


# The network.


def prepare_network(network: Any, output: str | int | None = None) -> nn.Module:
    """Take a network out of its wrappers, and where it returns several things let it return the class scores alone.

    Args:
        network: any module; it is not touched.
        output: key, attribute or index of the class scores where it returns several things.

    Raises:
        NetworkError: it cannot be scored; the message says why.

    Example:
        >>> prepare_network(torch.nn.DataParallel(torch.nn.Linear(3, 2)))
        Linear(in_features=3, out_features=2, bias=True)
    """
    if not isinstance(network, nn.Module):
        raise NetworkError(f"The network is a {type(network).__name__}, expected a torch.nn.Module.")
    network = _unwrapped(network)
    _refuse_what_cannot_be_seen(network)
    return network if output is None else _Selected(network, output)


def _unwrapped(network: nn.Module) -> nn.Module:
    # By name, for naming torch.compile's OptimizedModule would import the compiler.
    wrapped = "module" if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel) else "_orig_mod"
    inner = getattr(network, wrapped, None)
    return _unwrapped(inner) if isinstance(inner, nn.Module) else network


def _refuse_what_cannot_be_seen(network: nn.Module) -> None:
    for name, module in network.named_modules():
        where = f"Its module '{name}'" if name else "The network"
        if isinstance(module, torch.jit.ScriptModule):
            raise NetworkError(f"{where} is a TorchScript module, which cannot be observed: give the Python module.")
        if type(module).__module__.startswith("torch.ao.nn.") and ".quantized" in type(module).__module__:
            raise NetworkError(
                f"{where} is quantised ({type(module).__name__}): its weights are whole numbers, through which no "
                "gradient flows: score the network before it is quantised."
            )
        if any(nn.parameter.is_lazy(tensor) for tensor in (*module._parameters.values(), *module._buffers.values())):
            raise NetworkError(
                f"{where} is lazy ({type(module).__name__}) and has no weights yet: run the network once on a batch, "
                "network(images), and score it then."
            )


class _Selected(nn.Module):
    """A network that returns one of the things that another returns."""

    def __init__(self, network: nn.Module, output: str | int) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, *inputs: Any) -> Any:
        returned, output = self.network(*inputs), self.output
        try:
            by_attribute = isinstance(output, str) and not isinstance(returned, Mapping)
            return getattr(returned, output) if by_attribute else returned[output]  # type: ignore[arg-type]
        except (AttributeError, IndexError, KeyError, TypeError):
            parts = parts_of_output(returned)
            raise NetworkError(
                f"The output {output!r} was asked for, but the network returns a {type(returned).__name__}"
                f"{' with ' + ', '.join(map(repr, parts)) if parts else ''}: name another or none."
            ) from None
