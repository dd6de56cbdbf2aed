"""Train a network: one recipe, one loop, in one process or several.

A result depends on the seed, the network and the data alone: weights, order of the images and augmentation are drawn
from streams of their own, so that nothing that ran before changes it.
"""

from trainless.training.devices import Devices
from trainless.training.measures import MEASURES
from trainless.training.recipes import Recipe, fit_recipe
from trainless.training.results import TrainingResult, TrainingState
from trainless.training.train import train

__all__ = ["MEASURES", "Devices", "Recipe", "TrainingResult", "TrainingState", "fit_recipe", "train"]
