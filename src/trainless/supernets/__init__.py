"""Networks that share weights: built, trained and judged as one."""

from __future__ import annotations

from trainless.supernets.supernet import Supernet, recalibrate

__all__ = ["Supernet", "recalibrate"]
