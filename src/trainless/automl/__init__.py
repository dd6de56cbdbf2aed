"""Automated machine learning: from labelled images to a trained and tested network within a time budget."""

from trainless.automl.classifier import ImageClassifier
from trainless.automl.earlier import EarlierRun
from trainless.automl.pipeline import fit
from trainless.automl.plans import Plan
from trainless.automl.results import Fitted, TestResult
from trainless.automl.time_budget import TimeBudget
from trainless.automl.trust import Trust, trust

__all__ = ["EarlierRun", "Fitted", "ImageClassifier", "Plan", "TestResult", "TimeBudget", "Trust", "fit", "trust"]
