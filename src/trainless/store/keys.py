"""What a score is found by: the run it belongs to, its protocol, and hashes of any number of texts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from trainless.errors import StoreError

__all__ = ["Protocol", "Run", "format_protocol", "hash_of", "key_of", "parse_protocol"]

Protocol = dict[str, int | float | str] | str

_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")
_DECIMAL = re.compile(r"-?\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Run:
    """The part of a score's key that all scores of one run share.

    Args:
        space: name of the search space.
        task: name of the data set and fingerprint of the batch.
        seed: seed of the weights and the noise.
        fidelity: the rest of the protocol: size of the network and the batch, initialisation, precision.

    Raises:
        StoreError: the seed does not fit 64 bits.

    Example:
        >>> run = Run("toy", "digits:00", 0, "batch=64,dtype=float32")
        >>> str(run), run.protocol
        ('toy, digits:00, seed 0, batch=64,dtype=float32', {'batch': 64, 'dtype': 'float32'})
    """

    space: str
    task: str
    seed: int
    fidelity: str

    def __post_init__(self) -> None:
        if not -(2**63) <= self.seed < 2**63:
            raise StoreError(f"The seed is {self.seed}, which no database can hold: give one below 2**63.")

    def __str__(self) -> str:
        return f"{self.space}, {self.task}, seed {self.seed}, {self.fidelity}"

    @property
    def protocol(self) -> Protocol:
        """The fidelity by name, numbers as numbers; the text as it is where it is no list of names and values."""
        return parse_protocol(self.fidelity)

    @property
    def hash(self) -> str:
        """The hash by which a store finds the run."""
        return hash_of(self.space, self.task, int(self.seed), self.fidelity)


def parse_protocol(text: str) -> Protocol:
    """Read ``name=value,...`` such that `format_protocol` gives the text back; other text stays as it is.

    Example:
        >>> parse_protocol("batch=64,share=0.5"), parse_protocol("batch=064,a=1,a=2"), parse_protocol("twice a day")
        ({'batch': 64, 'share': 0.5}, 'batch=064,a=1,a=2', 'twice a day')
    """
    pairs = (part.partition("=")[::2] for part in text.split(","))
    protocol = {name: _typed(value) for name, value in pairs}
    return protocol if format_protocol(protocol) == text else text


def format_protocol(protocol: Protocol) -> str:
    """Write a protocol as the text of `Run.fidelity`.

    Example:
        >>> format_protocol({"batch": 64, "dtype": "float32"})
        'batch=64,dtype=float32'
    """
    return protocol if isinstance(protocol, str) else ",".join(f"{name}={value}" for name, value in protocol.items())


def _typed(value: str) -> int | float | str:
    if _INTEGER.fullmatch(value):
        return int(value)
    return float(value) if _DECIMAL.fullmatch(value) else value


def hash_of(*parts: str | int) -> str:
    """Hash a key of texts and numbers, of any length, to 32 hexadecimal digits (BLAKE2b of 128 bits).

    Example:
        >>> hash_of("a", "b,c", 1)
        '5fe20d6ce43c95b7f11c6d3734c011a4'
    """
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def key_of(settings: Mapping[str, str]) -> str:
    """Make a short name of settings, the same wherever and whenever it is made."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:16]
