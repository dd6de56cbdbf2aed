"""Options for where a network is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trainless.training import Devices

__all__ = ["Accelerator", "DeviceCount", "Precision", "devices_of"]

Accelerator = Annotated[str, typer.Option(help="Where to train: cpu, gpu, or auto for a GPU where there is one.")]
DeviceCount = Annotated[int, typer.Option(help="Processes that train the network together, each with its own GPU.")]
Precision = Annotated[
    str | None,
    typer.Option(
        help="Of the training: 32-true, bf16-mixed, or auto for the faster one where the processor is made for it; "
        "default auto, but 32-true with --epochs."
    ),
]


def devices_of(accelerator: str, devices: int, precision: str) -> Devices:
    """Read the devices that options give."""
    from trainless.training import Devices

    return Devices(accelerator, devices, precision=precision)
