"""What measures each signal: one recorder a signal, in one dictionary."""

from __future__ import annotations

from collections.abc import Mapping

from trainless.passes.recorders.base import Backward, ForwardAgain, Recorder
from trainless.passes.recorders.codes import DistinctPatterns, ReluKernel, ReluPatterns
from trainless.passes.recorders.counts import MultiplyAdds, Parameters, SkipSpans, TrainableParameters
from trainless.passes.recorders.features import FeatureChanges, NormalisationVariances
from trainless.passes.recorders.first_elements import FirstElements
from trainless.passes.recorders.hessian import HessianForm
from trainless.passes.recorders.image_gradients import GradientSigns, TangentKernel
from trainless.passes.recorders.jacobian import InputJacobian
from trainless.passes.recorders.saliencies import ChannelSaliencies
from trainless.passes.recorders.weights import PartGradients, WeightGradients, Weights
from trainless.passes.signals import Signal

__all__ = ["RECORDERS", "Backward", "ForwardAgain", "Recorder"]

RECORDERS: Mapping[Signal, type[Recorder]] = {
    Signal.PARAMETERS: Parameters,
    Signal.TRAINABLE_PARAMETERS: TrainableParameters,
    Signal.MULTIPLY_ADDS: MultiplyAdds,
    Signal.SKIP_SPANS: SkipSpans,
    Signal.RELU_KERNEL: ReluKernel,
    Signal.RELU_PATTERNS: ReluPatterns,
    Signal.DISTINCT_PATTERNS: DistinctPatterns,
    Signal.INPUT_JACOBIAN: InputJacobian,
    Signal.WEIGHTS: Weights,
    Signal.WEIGHT_GRADIENTS: WeightGradients,
    Signal.CHANNEL_SALIENCIES: ChannelSaliencies,
    Signal.HESSIAN_FORM: HessianForm,
    Signal.PART_GRADIENTS: PartGradients,
    Signal.TANGENT_KERNEL: TangentKernel,
    Signal.GRADIENT_SIGNS: GradientSigns,
    Signal.OUTPUT_JACOBIAN: FirstElements,
    Signal.FEATURE_CHANGES: FeatureChanges,
    Signal.NORMALISATION_VARIANCES: NormalisationVariances,
}
