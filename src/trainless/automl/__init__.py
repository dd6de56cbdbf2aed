"""From labelled images to a trained network within a time, without choosing anything by hand."""

from trainless.automl.classifier import ImageClassifier
from trainless.automl.clock import Clock, parse_time
from trainless.automl.pipeline import fit
from trainless.automl.plans import Plan
from trainless.automl.results import Fitted, TestResult
from trainless.automl.trust import Trust, trust

__all__ = ["Clock", "Fitted", "ImageClassifier", "Plan", "TestResult", "Trust", "fit", "parse_time", "trust"]
