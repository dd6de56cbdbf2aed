"""The preparation of images as a part of an ONNX graph: RGB bytes of any size in, what the network takes out."""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING

from trainless.data.pixels import FILL
from trainless.data.preprocessing import Preprocessing

if TYPE_CHECKING:
    import onnx

__all__ = ["preparation", "with_preparation"]

# ONNX's own Resize, antialiased, differs from Pillow's BILINEAR by up to 15 of 255 (benchmarks/onnx_resize.py), most
# along the edges. So both passes are matrix products with Pillow's weights, which are whole multiples of 2 ** -22, and
# are rounded to bytes as it does: in float64, where their sums are exact, the result is the same to the bit.
_FUNCTIONS = """
<domain: "preparation", opset_import: ["" : $opset]>
weights (length, target) => (matrix)
{
    zero = Constant <value = double {0.0}> ()
    half = Constant <value = double {0.5}> ()
    one = Constant <value = double {1.0}> ()
    precision = Constant <value = double {4194304.0}> ()
    sources = Constant <value = int64[1] {0}> ()
    targets = Constant <value = int64[1] {1}> ()
    length_scalar = Squeeze (length)
    target_scalar = Squeeze (target)
    length_double = Cast <to = 11> (length_scalar)
    target_double = Cast <to = 11> (target_scalar)
    scale = Div (length_double, target_double)
    reach = Max (scale, one)
    target_numbers = Range (zero, target_double, one)
    target_middles = Add (target_numbers, half)
    centres = Mul (target_middles, scale)
    source_numbers = Range (zero, length_double, one)
    source_middles = Add (source_numbers, half)
    source_column = Unsqueeze (source_middles, targets)
    offsets = Sub (source_column, centres)
    distances = Abs (offsets)
    shares = Div (distances, reach)
    triangle = Sub (one, shares)
    positive = Relu (triangle)
    sums = ReduceSum <keepdims = 1> (positive, sources)
    normalised = Div (positive, sums)
    scaled = Mul (normalised, precision)
    rounded = Round (scaled)
    matrix = Div (rounded, precision)
}
<domain: "preparation", opset_import: ["" : $opset]>
to_bytes (values) => (whole)
{
    half = Constant <value = double {0.5}> ()
    raised = Add (values, half)
    whole = Floor (raised)
}
<domain: "preparation", opset_import: ["" : $opset]>
proportional (length, factor, divisor, most) => (result)
{
    one = Constant <value = int64[1] {1}> ()
    two = Constant <value = int64[1] {2}> ()
    product = Mul (length, factor)
    double_product = Mul (two, product)
    raised = Add (double_product, divisor)
    double_divisor = Mul (two, divisor)
    rounded = Div (raised, double_divisor)
    at_least = Max (rounded, one)
    result = Min (at_least, most)
}
"""
_GRAPH = """
<ir_version: $ir_version, opset_import: ["" : $opset, "preparation" : 1]>
preparation (uint8[count, rows, columns, 3] bytes) => (float[count, $channels, $height, $width] prepared)
<int64[1] height = {$height}, int64[1] width = {$width}, float white = {255.0}>
{
    channels_first = Transpose <perm = [0, 3, 1, 2]> (bytes)
    colours = Cast <to = 11> (channels_first)
    tall = Shape <start = 2, end = 3> (channels_first)
    wide = Shape <start = 3, end = 4> (channels_first)
$colour
$before
    row_weights = preparation.weights (source_tall, inner_height)
    column_weights = preparation.weights (source_wide, inner_width)
    row_weights_turned = Transpose <perm = [1, 0]> (row_weights)
    narrow = MatMul (source, column_weights)
    narrow_bytes = preparation.to_bytes (narrow)
    small = MatMul (row_weights_turned, narrow_bytes)
    small_bytes = preparation.to_bytes (small)
$after
    levels = Cast <to = 1> (filled)
    prepared = Div (levels, white)
}
"""
_COLOUR = {
    1: """
    luma = Constant <value = double[3, 1, 1] {19595.0, 38470.0, 7471.0}> ()
    unit = Constant <value = double {65536.0}> ()
    channel_axis = Constant <value = int64[1] {1}> ()
    weighted = Mul (colours, luma)
    summed = ReduceSum <keepdims = 1> (weighted, channel_axis)
    lightness = Div (summed, unit)
    image = preparation.to_bytes (lightness)""",
    3: """
    image = Identity (colours)""",
}
_BEFORE = {
    "stretch": """
    source = Identity (image)
    source_tall = Identity (tall)
    source_wide = Identity (wide)
    inner_height = Identity (height)
    inner_width = Identity (width)""",
    "pad": """
    source = Identity (image)
    source_tall = Identity (tall)
    source_wide = Identity (wide)
    inner_height = preparation.proportional (tall, width, wide, height)
    inner_width = preparation.proportional (wide, height, tall, width)""",
    "crop": """
    source_tall = preparation.proportional (wide, height, width, tall)
    source_wide = preparation.proportional (tall, width, height, wide)
    two = Constant <value = int64[1] {2}> ()
    tall_left = Sub (tall, source_tall)
    wide_left = Sub (wide, source_wide)
    first_row = Div (tall_left, two)
    first_column = Div (wide_left, two)
    last_row = Add (first_row, source_tall)
    last_column = Add (first_column, source_wide)
    axes = Constant <value = int64[2] {2, 3}> ()
    starts = Concat <axis = 0> (first_row, first_column)
    ends = Concat <axis = 0> (last_row, last_column)
    source = Slice (image, starts, ends, axes)
    inner_height = Identity (height)
    inner_width = Identity (width)""",
}
_NO_FILL = """
    filled = Identity (small_bytes)"""
_AFTER = {
    "stretch": _NO_FILL,
    "crop": _NO_FILL,
    "pad": """
    two = Constant <value = int64[1] {2}> ()
    nothing = Constant <value = int64[2] {0, 0}> ()
    grey = Constant <value = double {$fill.0}> ()
    height_left = Sub (height, inner_height)
    width_left = Sub (width, inner_width)
    top = Div (height_left, two)
    left = Div (width_left, two)
    bottom = Sub (height_left, top)
    right = Sub (width_left, left)
    borders = Concat <axis = 0> (nothing, top, left, nothing, bottom, right)
    filled = Pad (small_bytes, borders, grey)""",
}


def preparation(preprocessing: Preprocessing, opset: int = 18, ir_version: int = 10) -> onnx.ModelProto:
    """Write the preparation of images as an ONNX graph, to the bit what `trainless.data.pixels.prepare` does.

    Its input ``bytes`` are upright images without transparency, uint8, ``(count, rows, columns, 3)``, red, green and
    blue, of any size. Its output ``prepared`` is float32 from 0 to 1, ``(count, channels, height, width)``.

    Args:
        preprocessing: size, colour and proportions.
        opset: version of ONNX's operators, at least 18.
        ir_version: version of ONNX's format.

    Example:
        >>> graph = preparation(Preprocessing(1, 8, 8, "pad")).graph
        >>> graph.input[0].name, graph.output[0].name
        ('bytes', 'prepared')
    """
    import onnx.inliner
    import onnx.parser

    how = preprocessing.resize
    parts = {"colour": _COLOUR[preprocessing.channels], "before": _BEFORE[how], "after": _AFTER[how]}
    values = {"opset": opset, "ir_version": ir_version, "fill": FILL, **vars(preprocessing)}
    text = Template(Template(_GRAPH + _FUNCTIONS).safe_substitute(parts)).substitute(values)
    return onnx.inliner.inline_local_functions(onnx.parser.parse_model(text))


def with_preparation(model: onnx.ModelProto, preprocessing: Preprocessing) -> onnx.ModelProto:
    """Put the preparation of images in front of a network whose input is ``images``.

    Args:
        model: a network as `trainless.export.write_onnx` writes it.
        preprocessing: what its images need.
    """
    import onnx.compose

    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    front = preparation(preprocessing, opset, model.ir_version)
    return onnx.compose.merge_models(front, model, io_map=[("prepared", "images")])
