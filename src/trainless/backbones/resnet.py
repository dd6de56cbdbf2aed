"""ResNets, read from the names and shapes of a checkpoint's weights."""

from __future__ import annotations

from itertools import count, takewhile

from trainless.backbones.architecture import Architecture, Block, Layer, Shapes

__all__ = ["resnet"]


def resnet(shapes: Shapes) -> tuple[str, Architecture] | None:
    """Read a ResNet of any depth and width under the names that timm and torchvision share.

    A network is a 7 x 7 convolution and a max pooling of stride 2 each, and stages of residual blocks, all but the
    first of which begin with a stride of 2. Blocks of two 3 x 3 convolutions stride in the first, those of three in the
    3 x 3 convolution, which may be grouped, as both libraries have it.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016; grouped: Xie et al., Aggregated Residual
    Transformations for Deep Neural Networks, CVPR 2017.

    Args:
        shapes: of the weights, by the name of the layer.

    Returns:
        A name, such as ``resnet18``, and the architecture; None where it is something else.
    """
    convolutions = [shape for name, shape in shapes.items() if name.rpartition(".")[2].startswith("conv")]
    if not {"conv1", "layer1.0.conv1"} <= shapes.keys() or any(len(shape) != 4 for shape in convolutions):
        return None
    stem = Block((
        Layer("conv_bn_relu", shapes["conv1"][0], kernel=7, stride=2, names=("conv1", "bn1")),
        Layer("max_pool", shapes["conv1"][0], kernel=3, stride=2),
    ))  # fmt: skip
    blocks: list[Block] = []
    for stage in takewhile(lambda stage: f"layer{stage}.0.conv1" in shapes, count(1)):
        for number in takewhile(lambda number: f"layer{stage}.{number}.conv1" in shapes, count()):  # noqa: B023
            blocks.append(_block(f"layer{stage}.{number}", shapes, stride=2 if stage > 1 and number == 0 else 1))
    architecture = Architecture(stem, tuple(blocks), "fc")
    depth = 2 + sum(len(block.layers) for block in blocks)
    return (f"resnet{depth}", architecture) if architecture.fits(shapes) else None


def _block(path: str, shapes: Shapes, stride: int) -> Block:
    convolutions = [shapes[name] for number in (1, 2, 3) if (name := f"{path}.conv{number}") in shapes]
    strided = len(convolutions) - 2  # the second of three, the first of two
    layers, inputs = list[Layer](), convolutions[0][1]
    for number, (channels, channels_read, kernel, _) in enumerate(convolutions):
        operation = "conv_bn" if number == len(convolutions) - 1 else "conv_bn_relu"
        names = f"{path}.conv{number + 1}", f"{path}.bn{number + 1}"
        layers.append(
            Layer(operation, channels, kernel, stride if number == strided else 1, inputs // channels_read, names=names)
        )
        inputs = channels
    projection = Layer(
        "conv_bn", layers[-1].channels, stride=stride, names=(f"{path}.downsample.0", f"{path}.downsample.1")
    )
    return Block(tuple(layers), (projection,) if projection.names[0] in shapes else (), "relu")
