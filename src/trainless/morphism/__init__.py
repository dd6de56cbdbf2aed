"""Networks from networks: larger ones with the same function, smaller ones, and others that take over what fits."""

from __future__ import annotations

from trainless.morphism.inheritance import inherit
from trainless.morphism.transform import can_morph, morph, shrink

__all__ = ["can_morph", "inherit", "morph", "shrink"]
