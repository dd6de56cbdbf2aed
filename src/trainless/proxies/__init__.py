"""Zero-cost proxies: one record each, grouped by family of formula, in one dictionary."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trainless.errors import InputError, UnknownNameError
from trainless.passes import Signal
from trainless.proxies.activations import ACTIVATIONS, regularised_swap
from trainless.proxies.base import Proxy, with_uniform_weights
from trainless.proxies.blocks import BLOCKS
from trainless.proxies.counts import COUNTS
from trainless.proxies.flow import FLOW
from trainless.proxies.gradients import GRADIENTS
from trainless.proxies.information import INFORMATION
from trainless.proxies.jacobian import JACOBIAN
from trainless.proxies.layers import LAYERS
from trainless.proxies.transferability import TRANSFERABILITY
from trainless.proxies.zen import ZEN

__all__ = ["PROXIES", "Proxy", "by_image", "proxies", "proxy"]

_REGULARISED = re.compile(r"swap:(\d+\.?\d*(?:e[+-]?\d+)?)(?:±|\+-)(\d+\.?\d*(?:e[+-]?\d+)?)")
_BY_IMAGE = {Signal.TANGENT_KERNEL, Signal.GRADIENT_SIGNS, Signal.OUTPUT_JACOBIAN}

PROXIES: dict[str, Proxy] = {
    record.name: record
    for family in (COUNTS, FLOW, ZEN, GRADIENTS, JACOBIAN, ACTIVATIONS, LAYERS, BLOCKS, INFORMATION, TRANSFERABILITY)
    for record in family
}

# Those that look at one draw of the weights, by the draw that suits them best; see docs/robust.md.
_REDRAWN = ("jacov", "nwot", "meco", "az_expressivity", "az_progressivity", "az_trainability")
PROXIES |= {record.name: record for record in (with_uniform_weights(PROXIES[name]) for name in _REDRAWN)}


def proxy(name: str | Proxy) -> Proxy:
    """Look a proxy up by its full name, variant included; a `Proxy` is given back as it is.

    A name like ``swap:300±50``, also written ``swap:300+-50``, is that of `regularised_swap`.

    Raises:
        UnknownNameError: no proxy has that name.
        InputError: a size or a variance cannot be one.

    Example:
        >>> proxy("nwot").paper
        'Mellor et al., Neural Architecture Search without Training, ICML 2021'
    """
    if isinstance(name, Proxy):
        return name
    if regularised := _REGULARISED.fullmatch(name):
        return regularised_swap(*map(float, regularised.groups()))
    if name not in PROXIES:
        raise UnknownNameError("proxy", name, PROXIES)
    return PROXIES[name]


def proxies(names: str | Iterable[str | Proxy] = "all") -> list[Proxy]:
    """Look up several proxies: a list, or text with commas.

    ``"all"`` stands for all that are meant for untrained networks, however they are written, without variants: those
    that look at the gradients of each image, which see convolutions of images and linear maps alone, are named.

    Raises:
        UnknownNameError: a name is unknown.
        InputError: nothing is named.

    Example:
        >>> [record.name for record in proxies("nwot, zen:running")]
        ['nwot', 'zen:running']
    """
    parts = [part.strip() for part in names.split(",") if part.strip()] if isinstance(names, str) else list(names)
    chosen: dict[str, Proxy] = {}
    for part in parts:
        group = _usual() if part == "all" else [proxy(part)]
        chosen.update({record.name: record for record in group})
    if not chosen:
        raise InputError(f"No proxy is named in {names!r}: name at least one, or 'all'.")
    return list(chosen.values())


def by_image() -> list[Proxy]:
    """List the proxies, without variants, that look at the gradients of each image.

    Example:
        >>> [record.name for record in by_image()]
        ['gradsign', 'ntk_condition', 'vkdnw', 'vkdnw_entropy']
    """
    return [record for record in PROXIES.values() if ":" not in record.name and record.signals & _BY_IMAGE]


def _usual() -> list[Proxy]:
    named = [*by_image(), *TRANSFERABILITY]
    return [record for record in PROXIES.values() if ":" not in record.name and record not in named]
