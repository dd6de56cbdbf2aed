"""What can be measured on an untrained network: conditions, signals, recorders, and the driver that runs passes."""

from __future__ import annotations

from trainless.passes.driver import PassResult, failure_reason, run_passes
from trainless.passes.plan import Measured, check_conditions, plan_passes, signal_name
from trainless.passes.recorders import BLOCK_PATHS, RECORDERS, Backward, Recorder
from trainless.passes.run import parts_of_output
from trainless.passes.signals import PassSpec, Signal, Signals

__all__ = [
    "BLOCK_PATHS",
    "RECORDERS",
    "Backward",
    "Measured",
    "PassResult",
    "PassSpec",
    "Recorder",
    "Signal",
    "Signals",
    "check_conditions",
    "failure_reason",
    "parts_of_output",
    "plan_passes",
    "run_passes",
    "signal_name",
]
