"""Networks that share weights: built, trained and judged as one."""

from __future__ import annotations

from trainless.supernets.gradients import METHODS, GradientSearch, search_by_gradients
from trainless.supernets.mixed import MixedNetwork
from trainless.supernets.paths import calibration_images, path_accuracy, train_supernet
from trainless.supernets.supernet import Supernet, recalibrate

__all__ = [
    "METHODS", "GradientSearch", "MixedNetwork", "Supernet", "calibration_images", "path_accuracy", "recalibrate",
    "search_by_gradients", "train_supernet",
]  # fmt: skip
