"""Networks that share weights: built, trained and judged as one."""

from __future__ import annotations

from trainless.supernets.controller import ControllerSearch, search_by_controller
from trainless.supernets.gradients import GradientSearch, search_by_gradients
from trainless.supernets.methods import METHODS
from trainless.supernets.mixed import MixedNetwork
from trainless.supernets.paths import calibration_images, path_accuracy, train_supernet
from trainless.supernets.pruning import MixtureScores, perturb_by_scores, prune_by_trainability
from trainless.supernets.supernet import Supernet, recalibrate

__all__ = [
    "METHODS", "ControllerSearch", "GradientSearch", "MixedNetwork", "MixtureScores", "Supernet", "calibration_images",
    "path_accuracy", "perturb_by_scores", "prune_by_trainability", "recalibrate", "search_by_controller",
    "search_by_gradients", "train_supernet",
]  # fmt: skip
