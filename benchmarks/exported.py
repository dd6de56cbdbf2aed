"""Export networks of both spaces in every format, and print how far their numbers are from the network's.

    python benchmarks/exported.py [--networks 2] [--images 500] [--epochs 3] [--learn 500] [--small]

The images are digits and, where the real data is there, CIFAR-10; none of them was learned from. Each network is
trained for so many epochs on so many images, so that weights and statistics are those of a training, not of a draw.
"Plain code" is `network.py` with `model.safetensors`, run by `python -I` in a process in which importing trainless is
an error. Each row has the greatest difference of a class's number from that of the network in memory, the greatest
such number itself, and how many of all guesses are the same in all formats.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from common import machine, print_table

from trainless.automl.folders import real_images
from trainless.data import ImageDataset, load_data, load_splits, split
from trainless.export import FORMATS, load_plain, plain_code, write_onnx, write_plain, write_torchscript
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.training import train
from trainless.types import Architecture

LIMIT = 1e-4
SMALL = {"nasbench201": {"channels": 4, "cells": 1}, "mobile": {"width": 4, "depth": 1}}
ALONE = """
import sys

class Refuse:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "trainless":
            raise ImportError("trainless is not to be had here")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, ".")
import numpy, torch
from network import load
with torch.inference_mode():
    network, images = load(), torch.tensor(numpy.load("images.npy"))
    numpy.save("scores.npy", torch.cat([network(batch) for batch in images.split(64)]).numpy())
assert not any(name.partition(".")[0] == "trainless" for name in sys.modules)
"""


def main() -> None:
    """Export and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"networks": 2, "images": 500, "epochs": 3, "learn": 500}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--small", action="store_true", help="the smallest networks, to try the script")
    arguments = parser.parse_args()
    print(f"{machine()}; {arguments.images} images\n")
    rows: list[tuple[object, ...]] = []
    for data, examples in _data(arguments.images):
        for name, sizes in SMALL.items():
            space = search_space(name, **sizes) if arguments.small else search_space(name)
            rng = np.random.default_rng(0)
            for architecture in [space.sample(rng) for _ in range(arguments.networks)]:
                network = _trained(space, architecture, data, arguments.learn, arguments.epochs)
                found = _compared(network, data, examples)
                rows.append(
                    (data.task.name, name, str(architecture), space.parameters(architecture, data.task), *found)
                )
                print(".", end="", flush=True)
    print("\n")
    header = ("data", "space", "architecture", "parameters", "greatest number", "plain code", "TorchScript", "ONNX")
    print_table((*header, "same guesses"), [_texts(row) for row in rows])
    worst = max(float(each) for row in rows for each in row[5:8])  # type: ignore[arg-type]
    print(f"\nGreatest difference of all: {worst:.2g}; {'within' if worst <= LIMIT else 'BEYOND'} {LIMIT:g}.")


def _data(count: int) -> Iterator[tuple[ImageDataset, ImageDataset]]:
    """Sets of images to learn from, each with those that networks are compared on."""
    digits = load_splits("digits", fractions=(0.5, 0.2, 0.3))
    yield digits.train, digits.test
    folder = Path(os.environ.get("TRAINLESS_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if (cifar := folder / "cifar-10-batches-bin").is_dir():
        whole = load_data(cifar)
        yield split(whole, count / len(whole))


def _trained(
    space: SearchSpace, architecture: Architecture, data: ImageDataset, images: int, epochs: int
) -> torch.nn.Module:  # fmt: skip
    network = space.build(space.canonical(architecture), data.task)
    few = split(data, images / len(data))[1]
    train(network, *split(few, 0.2), epochs=epochs)
    return network


def _compared(network: torch.nn.Module, data: ImageDataset, examples: ImageDataset) -> tuple[float, ...]:
    """The greatest number, the greatest differences of the formats from the network, and the share of same guesses."""
    images = real_images(examples, len(examples))
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    with torch.inference_mode():
        expected = torch.cat([network((batch - mean) / std) for batch in images.split(64)]).numpy()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_plain(plain_code(network, data.task.input_shape, data.class_names, data.mean, data.std), folder)
        np.save(folder / "images.npy", images.numpy())
        subprocess.run([sys.executable, "-I", "-c", ALONE], cwd=folder, check=True)
        plain = load_plain(folder)
        script, onnx = folder / FORMATS["torchscript"], folder / FORMATS["onnx"]
        write_torchscript(plain, images, script)
        write_onnx(plain, images, onnx)
        found = [np.load(folder / "scores.npy"), _of_torchscript(script, images), _of_onnx(onnx, images)]
    same = np.all([each.argmax(1) == expected.argmax(1) for each in found], axis=0).mean()
    return float(np.abs(expected).max()), *(float(np.abs(each - expected).max()) for each in found), float(same)


def _of_torchscript(path: Path, images: torch.Tensor) -> np.ndarray:
    network = torch.jit.load(path)
    with torch.inference_mode():
        scores: np.ndarray = torch.cat([network(batch) for batch in images.split(64)]).numpy()
    return scores


def _of_onnx(path: Path, images: torch.Tensor) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["scores"], {"images": batch.numpy()})[0] for batch in images.split(64)])


def _texts(row: tuple[object, ...]) -> list[object]:
    data, name, architecture, parameters, greatest, *differences, same = row
    shown = [f"{each:.2g}" for each in differences]
    return [data, name, architecture, f"{parameters:,}", f"{greatest:.1f}", *shown, f"{same:.1%}"]


if __name__ == "__main__":
    main()
