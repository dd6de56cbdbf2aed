"""Devices of a training: accelerator, number of processes and nodes, precision."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainless.errors import InputError, UnknownNameError

__all__ = ["ACCELERATORS", "PRECISIONS", "Devices"]

ACCELERATORS = ("cpu", "gpu", "auto")
PRECISIONS = ("32-true", "bf16-mixed", "auto")


@dataclass(frozen=True)
class Devices:
    """Devices of a training; names and meanings are those of Lightning.

    With more than one process each has its share of every batch, so that batch, steps and schedule are those of one
    process. The default is what gives the same result on each run: one process of a CPU in float32.

    Args:
        accelerator: ``"cpu"``; ``"gpu"`` for CUDA; ``"auto"`` for a GPU where there is one.
        devices: processes of one node, each with a GPU of its own where they have GPUs.
        nodes: machines, on each of which torchrun or SLURM starts as many processes.
        precision: ``"32-true"``; ``"bf16-mixed"`` computes convolutions and products in bfloat16; ``"auto"`` takes
            that of them in which a step of the network is faster, which is measured where the processor has
            instructions for bfloat16. What is measured on validation images is in float32 always.

    Raises:
        InputError: a value cannot be used.

    Example:
        >>> Devices(devices=2, nodes=3).processes
        6
    """

    accelerator: str = "cpu"
    devices: int = 1
    nodes: int = 1
    precision: str = "32-true"

    def __post_init__(self) -> None:
        for kind, known in (("accelerator", ACCELERATORS), ("precision", PRECISIONS)):
            if getattr(self, kind) not in known:
                raise UnknownNameError(kind, str(getattr(self, kind)), known)
        for name in ("devices", "nodes"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1):
                raise InputError(f"The number of {name} is {value}, expected a whole number of at least 1.")

    @property
    def processes(self) -> int:
        """Number of processes of all nodes."""
        return self.devices * self.nodes

    def resolved(self) -> Devices:
        """Decide what ``"auto"`` means on this machine; the precision stays open where a network has to tell.

        Raises:
            InputError: there are not so many GPUs.

        Example:
            >>> Devices().resolved() == Devices()
            True
        """
        import torch

        accelerator, precision = self.accelerator, self.precision
        gpus = torch.cuda.device_count() if torch.cuda.is_available() and accelerator != "cpu" else 0
        if accelerator == "auto":
            accelerator = "gpu" if gpus else "cpu"
        if accelerator == "gpu" and gpus < self.devices:
            raise InputError(
                f"PyTorch finds {gpus} GPUs here, expected {self.devices}: take fewer devices, or the accelerator cpu."
            )
        if precision == "auto":
            precision = "auto" if _has_bfloat16(accelerator) else "32-true"
        return replace(self, accelerator=accelerator, precision=precision)


def _has_bfloat16(accelerator: str) -> bool:
    """Whether there are instructions for products of matrices in bfloat16; emulated ones are slower than float32."""
    import torch

    if accelerator == "gpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
