"""Train a network briefly, and find the best of a few candidates by training them.

A result depends on the seed, the network and the data alone: weights, order of the images and augmentation are drawn
from streams of their own, so that nothing that ran before changes it.
"""

from trainless.training.candidates import RunOffRow, run_off
from trainless.training.devices import Devices
from trainless.training.measures import MEASURES
from trainless.training.recipes import Recipe
from trainless.training.results import TrainingResult, TrainingState
from trainless.training.train import train

__all__ = ["MEASURES", "Devices", "Recipe", "RunOffRow", "TrainingResult", "TrainingState", "run_off", "train"]
