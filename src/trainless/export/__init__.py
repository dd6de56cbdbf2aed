"""Export of a trained network for use without trainless: plain PyTorch code with weights, ONNX, TorchScript.

Whatever the form, it takes float32 images with values from 0 to 1, shape ``(images, channels, height, width)``, and
gives logits, one for each class: the normalisation of the training is inside. ONNX may also take RGB bytes of any size,
and give probabilities. What has to happen to an image before is noted in each file.
"""

from trainless.export.code import PlainCode, plain_code, take_weights
from trainless.export.folder import usage, write_formats, write_preprocessing
from trainless.export.formats import (
    FORMATS,
    load_plain,
    write_onnx,
    write_onnx_bytes,
    write_plain,
    write_torchscript,
)
from trainless.export.weights import read_weights, write_weights

__all__ = ["FORMATS", "PlainCode", "load_plain", "plain_code", "read_weights", "take_weights", "usage", "write_formats",
           "write_onnx", "write_onnx_bytes", "write_plain", "write_preprocessing", "write_torchscript",
           "write_weights"]  # fmt: skip
