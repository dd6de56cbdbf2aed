"""Make any network and any batch ready to be scored, or refuse them with one sentence.

Scoring runs on a copy, so that nothing a forward pass does to its network (running statistics, counters, caches, the
recomputation of a checkpoint) can reach the network that was given.
"""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from types import CellType, FunctionType
from typing import Any

import torch
from torch import nn

from trainless.errors import NetworkError

__all__ = ["PreparedBatch", "distinct_images", "ordinary_arithmetic", "prepare_batch", "prepare_network"]


@contextmanager
def ordinary_arithmetic() -> Iterator[None]:
    """Leave what the caller may be inside of: no_grad, inference_mode, autocast, another default dtype, compilation.

    Example:
        >>> with torch.inference_mode(), ordinary_arithmetic():
        ...     torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        (True, False)
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if "torch._dynamo" in sys.modules:  # a compiled function hides what it calls
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        yield


# The batch.


@dataclass(frozen=True)
class PreparedBatch:
    """A batch that was checked, without copies and blank images.

    Args:
        images: what is perturbed and differentiated: the images, or where a network takes several inputs all of them
            that are floating-point numbers, flat and side by side, one row an image.
        labels: class of each image, or None.
        inputs: what the network is called with.
        note: one sentence on what was left out, or empty.
        defect: why no proxy can read these images, or empty.
    """

    images: torch.Tensor
    labels: torch.Tensor | None
    inputs: tuple[torch.Tensor, ...]
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
        >>> batch.images.tolist()
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
    return PreparedBatch(_packed(inputs), labels, inputs, note, defect)


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


def _packed(inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    if len(inputs) == 1:
        return inputs[0]
    return torch.cat([tensor.flatten(1) for tensor in inputs if tensor.is_floating_point()], 1)


# The network.


def prepare_network(network: Any, batch: PreparedBatch, output: str | int | None = None) -> nn.Module:
    """Copy a network so that it maps ``batch.images`` to its class scores, without wrappers and compilation.

    Args:
        network: any module; it is not touched. Its hooks are copied with it.
        batch: what it will be called with.
        output: key, attribute or index of the class scores where it returns several things.

    Raises:
        NetworkError: it cannot be scored; the message says why.

    Example:
        >>> batch = prepare_batch((torch.rand(2, 3), torch.rand(2, 4)))
        >>> network = prepare_network(torch.nn.Bilinear(3, 4, 5), batch)
        >>> network(batch.images).shape
        torch.Size([2, 5])
    """
    if not isinstance(network, nn.Module):
        raise NetworkError(f"The network is a {type(network).__name__}, expected a torch.nn.Module.")
    bare = _unwrapped(network)
    _refuse_what_cannot_be_seen(bare)
    prepared = _copied(bare)
    for module in prepared.modules():
        children = ((name, child) for name, child in module._modules.items() if child is not None)
        module._modules.update({name: _unwrapped(child) for name, child in children})
        module._compiled_call_impl = None
    if len(batch.inputs) > 1:
        prepared.register_forward_pre_hook(_Unpack(batch.inputs), prepend=True)
    prepared.register_forward_hook(_Select(output))
    return prepared


def _unwrapped(network: nn.Module) -> nn.Module:
    # By name, for naming torch.compile's OptimizedModule would import the compiler.
    wrapped = "module" if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel) else "_orig_mod"
    inner = network._modules.get(wrapped)
    return network if inner is None else _unwrapped(inner)


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


def _copied(network: nn.Module) -> nn.Module:
    """Copy a network with all that it holds; what cannot be copied, such as a lock or an open file, is shared."""
    memo: dict[int, Any] = {}
    held = [value for module in network.modules() for value in _attributes(module)]
    for tensor in _tensors(held):
        if not tensor.is_leaf:  # deepcopy refuses these: the weight of a weight_norm, activations kept by a forward
            memo[id(tensor)] = tensor.detach().clone()
    try:
        duplicate = copy.deepcopy(network, memo)
    except Exception:  # whatever the attributes of a foreign network raise
        memo = {key: value for key, value in memo.items() if isinstance(value, torch.Tensor)}
        for value in reversed(held):  # children before the parents that hold them
            try:
                copy.deepcopy(value, dict(memo))
            except Exception:
                memo[id(value)] = value
        duplicate = copy.deepcopy(network, memo)
    _rebind_functions(duplicate, memo)
    return duplicate


def _attributes(module: nn.Module) -> Iterator[Any]:
    for name, value in vars(module).items():
        if name not in ("_modules", "_parameters"):
            yield from value.values() if isinstance(value, dict) else (value,)


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple | dict):
            yield from _tensors(value.values() if isinstance(value, dict) else value)


def _rebind_functions(duplicate: nn.Module, memo: Mapping[int, Any]) -> None:
    """Let functions of the copy (hooks, a forward that was replaced) hold the copy's modules, not the original's."""
    for module in duplicate.modules():
        for registry in (vars(module), *(value for value in vars(module).values() if isinstance(value, dict))):
            registry.update({key: _rebound(value, memo) for key, value in registry.items()})


def _rebound(value: Any, memo: Mapping[int, Any]) -> Any:
    if not isinstance(value, FunctionType) or not value.__closure__:
        return value
    held = [cell.cell_contents for cell in value.__closure__]
    copies = [memo.get(id(item), item) if isinstance(item, nn.Module | torch.Tensor) else item for item in held]
    function = FunctionType(
        value.__code__, value.__globals__, value.__name__, value.__defaults__, tuple(map(CellType, copies))
    )
    function.__kwdefaults__ = value.__kwdefaults__
    return function


class _Unpack:
    """Forward pre-hook that cuts the rows of a matrix into a network's several inputs.

    Inputs of whole numbers, such as masks or positions, are no part of the matrix: each image keeps its own, and
    images of another number, such as noise, take them in turns.
    """

    def __init__(self, inputs: tuple[torch.Tensor, ...]) -> None:
        self.inputs = inputs

    def __call__(self, _: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        (matrix,) = arguments
        rows, start = matrix.shape[0], 0
        unpacked = []
        for tensor in self.inputs:
            if tensor.is_floating_point():
                length = tensor[0].numel()
                unpacked.append(torch.narrow(matrix, 1, start, length).reshape(rows, *tensor.shape[1:]))
                start += length
            else:
                turns = torch.arange(rows, device=tensor.device) % len(tensor)
                unpacked.append(tensor[turns].to(matrix.device))
        return tuple(unpacked)


class _Select:
    """Forward hook that picks the class scores from what a network returns, or says how to name them."""

    def __init__(self, output: str | int | None) -> None:
        self.output = output

    def __call__(self, _: nn.Module, __: Any, returned: Any) -> Any:
        if self.output is None:
            names = _names(returned)
            if names is not None:
                shown = f"name the class scores, as in output={names[0]!r}" if names else "it holds nothing to score"
                raise NetworkError(
                    f"The network returns a {type(returned).__name__}, expected one tensor of shape (images, classes): "
                    f"{shown}; it has {', '.join(map(repr, names)) or 'no entries'}."
                )
            return returned
        try:
            by_attribute = isinstance(self.output, str) and not isinstance(returned, Mapping)
            return getattr(returned, self.output) if by_attribute else returned[self.output]  # type: ignore[arg-type]
        except (AttributeError, IndexError, KeyError, TypeError):
            names = _names(returned)
            raise NetworkError(
                f"The output {self.output!r} was asked for, but the network returns a {type(returned).__name__}"
                f"{' with ' + ', '.join(map(repr, names)) if names else ''}: name another or none."
            ) from None


def _names(returned: Any) -> list[Any] | None:
    """What the parts of a dictionary, a data class or a sequence are asked for by; None for anything else."""
    if isinstance(returned, Mapping):
        return list(returned)
    if is_dataclass(returned):
        return [field.name for field in fields(returned)]
    if not isinstance(returned, tuple | list):
        return None
    return list(getattr(returned, "_fields", range(len(returned))))
