"""What measures each signal: one recorder a signal, in one dictionary."""

from __future__ import annotations

from collections.abc import Mapping

from trainless.passes.recorders.base import Backward, ForwardAgain, Recorder
from trainless.passes.recorders.blocks import BLOCK_PATHS, BlockGains, FeatureSpectra
from trainless.passes.recorders.codes import DistinctPatterns, ReluKernel, ReluPatterns
from trainless.passes.recorders.counts import (
    MultiplyAdds,
    Parameters,
    ParameterTensors,
    SkipSpans,
    TrainableLayers,
    TrainableParameters,
)
from trainless.passes.recorders.coupled import CoupledTangentKernel
from trainless.passes.recorders.features import FeatureChanges, NormalisationVariances
from trainless.passes.recorders.first_elements import FirstElements
from trainless.passes.recorders.hessian import HessianForm
from trainless.passes.recorders.image_gradients import GradientSigns, TangentKernel
from trainless.passes.recorders.jacobian import InputJacobian
from trainless.passes.recorders.layers import FirstImageCorrelations, LayerCovariances
from trainless.passes.recorders.modules import ModuleCorrelations, ModuleRanks, SampledModuleCorrelations
from trainless.passes.recorders.saliencies import ChannelSaliencies
from trainless.passes.recorders.weights import PartGradients, WeightGradients, Weights
from trainless.passes.signals import Signal

__all__ = ["BLOCK_PATHS", "RECORDERS", "Backward", "ForwardAgain", "Recorder"]

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
    Signal.COUPLED_TANGENT_KERNEL: CoupledTangentKernel,
    Signal.PARAMETER_TENSORS: ParameterTensors,
    Signal.TRAINABLE_LAYERS: TrainableLayers,
    Signal.LAYER_COVARIANCES: LayerCovariances,
    Signal.FIRST_IMAGE_CORRELATIONS: FirstImageCorrelations,
    Signal.MODULE_CORRELATIONS: ModuleCorrelations,
    Signal.SAMPLED_MODULE_CORRELATIONS: SampledModuleCorrelations,
    Signal.MODULE_RANKS: ModuleRanks,
    Signal.FEATURE_SPECTRA: FeatureSpectra,
    Signal.BLOCK_GAINS: BlockGains,
    Signal.FEATURE_CHANGES: FeatureChanges,
    Signal.NORMALISATION_VARIANCES: NormalisationVariances,
}
