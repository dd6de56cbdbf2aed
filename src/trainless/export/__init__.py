"""Export of a trained network for use without trainless: plain PyTorch code with weights, ONNX, TorchScript.

Whatever the form, it takes float32 images with values from 0 to 1, shape ``(images, channels, height, width)``, and
gives logits, one for each class: the normalisation of the training is inside.
"""

from trainless.export.code import PlainCode, plain_code
from trainless.export.formats import FORMATS, load_plain, write_onnx, write_plain, write_torchscript

__all__ = ["FORMATS", "PlainCode", "load_plain", "plain_code", "write_onnx", "write_plain", "write_torchscript"]
