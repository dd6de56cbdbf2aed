"""Print how far resizing inside an ONNX graph is from Pillow's bilinear filter, and what it takes.

    python benchmarks/onnx_resize.py [--size 64]

ONNX's own Resize, linear and antialiased, on bytes and on float32, beside the matrix products of the format onnx-uint8.
Images are noise and soft colours of several sizes. Rows have the largest and the mean difference in levels of 255, the
share of values that differ, and the milliseconds of one thread for the largest image, of 12 megapixels.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np
import onnx.parser
import onnxruntime
from common import machine, print_table
from numpy.typing import NDArray
from PIL import Image

from trainless.data.pixels import prepare
from trainless.data.preprocessing import Preprocessing
from trainless.export.byte_input import preparation

SIZES = ((480, 640), (640, 480), (65, 63), (30, 40), (48, 128), (333, 1000), (3000, 4000))
RESIZE = 'Resize <mode = "linear", antialias = 1, coordinate_transformation_mode = "half_pixel", axes = [2, 3]>'
GRAPH = """
<ir_version: 10, opset_import: ["" : 18]>
resize (uint8[count, 3, rows, columns] planes) => (uint8[count, 3, height, width] small)
<int64[2] size = {{{size}, {size}}}>
{{
    {body}
}}
"""
BODIES = {
    "Resize of bytes": f"small = {RESIZE} (planes, , , size)",
    "Resize of float32": f"""whole = Cast <to = 1> (planes)
    part = {RESIZE} (whole, , , size)
    rounded = Round (part)
    small = Cast <to = 2> (rounded)""",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    size = parser.parse_args().size
    models = {name: onnx.parser.parse_model(GRAPH.format(size=size, body=body)) for name, body in BODIES.items()}
    models["matrix products"] = preparation(Preprocessing(3, size, size))
    print(f"onnxruntime {onnxruntime.__version__}, Pillow {Image.__version__}, {machine()}\n")
    print_table(
        ("way", "largest", "mean", "values that differ, %", "ms"),
        [(name, *measured(model, size)) for name, model in models.items()],
    )


def measured(model: onnx.ModelProto, size: int) -> tuple[int, float, float, float]:
    """Compare a model with Pillow on all pictures: largest, mean and share of differences, milliseconds of the last."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    differences = []
    for pixels in pictures():
        given = session.get_inputs()[0].name
        images = pixels[None] if given == "bytes" else np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        start = perf_counter()
        (small,) = session.run(None, {given: images})
        seconds = perf_counter() - start
        levels = np.rint(small[0] * (255 if small.dtype == np.float32 else 1)).astype(int)
        differences.append(np.abs(levels - prepare(Image.fromarray(pixels), 3, size, size)))
    every = np.concatenate([difference.ravel() for difference in differences])
    return int(every.max()), float(every.mean()), 100 * float((every > 0).mean()), 1000 * seconds


def pictures() -> list[NDArray[np.uint8]]:
    """Noise and soft colours of each size."""
    stream, found = np.random.default_rng(0), []
    for height, width in SIZES:
        noise = stream.integers(0, 256, (height, width, 3), np.uint8)
        soft = Image.fromarray(noise[: height // 9, : width // 9]).resize((width, height), Image.Resampling.BICUBIC)
        found += [np.asarray(soft), noise]
    return found


if __name__ == "__main__":
    main()
