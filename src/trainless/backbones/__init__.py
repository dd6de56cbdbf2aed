"""Pretrained backbones: their architecture, where their weights come from, and what these were trained on."""

from __future__ import annotations

from trainless.backbones.architecture import Architecture, Block, Layer
from trainless.backbones.base import Backbone
from trainless.backbones.efficientnet_lite import EfficientNetLite
from trainless.backbones.known import BACKBONES, backbones
from trainless.backbones.weights import is_installed, read_weights

__all__ = [
    "BACKBONES",
    "Architecture",
    "Backbone",
    "Block",
    "EfficientNetLite",
    "Layer",
    "backbones",
    "is_installed",
    "read_weights",
]
