"""Fit networks to six small folders of images, and print what came out, what was warned of, and the time that it took.

    python benchmarks/small_folders.py [--minutes 1,2,5] [--folders large,unequal,few,single,grey,wide] [--seed 0]
                                       [--out small_folders]

The images show a disc, a square, a triangle or a cross of some size and colour on an uneven ground, anywhere in the
picture, so that a linear classifier of pixels learns little from them. The folders are those that people begin with: of
224 pixels, of classes as 1 to 50, of 60 images in all, with a class of a single image, grey, wide. Give it a machine
that does nothing else. What is finished is a line of fits.csv in the folder of --out, and the same command goes on from
there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import append_row, machine, print_table, read_rows
from PIL import Image, ImageDraw

from trainless.training.scales import SCALES

SHAPES = ("disc", "square", "triangle", "cross")
COLUMNS = ("measure", "network", "commonest", "linear", "warned", "epochs", "seconds over", "kept")
OVER = 0.1  # share of the time that a fit may take more


class Folder(NamedTuple):
    """What a folder of images holds.

    Args:
        counts: number of images of each shape, in their order.
        height: rows of an image.
        width: columns of an image.
        mode: of Pillow, RGB or L for grey.
    """

    counts: tuple[int, ...]
    height: int = 64
    width: int = 64
    mode: str = "RGB"


FOLDERS: Mapping[str, Folder] = {
    "large": Folder((60, 60, 60), 224, 224),
    "unequal": Folder((400, 8)),
    "few": Folder((20, 20, 20)),
    "single": Folder((60, 60, 60, 1)),
    "grey": Folder((60, 60, 60), mode="L"),
    "wide": Folder((60, 60, 60), 64, 192),
}


def main() -> None:
    """Make the folders, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", default="1,2,5")
    parser.add_argument("--folders", default=",".join(FOLDERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("small_folders"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "fits.csv"
    print(f"{machine()}\n", flush=True)
    done = {(row["folder"], row["minutes"]): row for row in read_rows(path) if row["seed"] == str(arguments.seed)}
    asked = [(name, minutes) for name in arguments.folders.split(",") for minutes in arguments.minutes.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        for name, minutes in asked:
            if (name, minutes) in done:
                continue
            images = Path(temporary) / name
            if not images.exists():
                make(images, FOLDERS[name], arguments.seed)
            found = fitted(images, Path(temporary) / f"{name} {minutes}", float(minutes), arguments.seed)
            values = (name, minutes, str(arguments.seed), *map(str, found))
            done[name, minutes] = dict(zip(("folder", "minutes", "seed", *COLUMNS), values, strict=True))
            append_row(path, done[name, minutes])
            print(f"{name}, {minutes} minutes: {found[1]}", flush=True)
    print()
    shown = ("folder", "minutes", *COLUMNS)
    print_table(shown, [[done[unit][name] for name in shown] for unit in asked])


def make(folder: Path, wanted: Folder, seed: int) -> None:
    """Write the images of a folder, a folder for each class in it."""
    rng = np.random.default_rng(seed)
    for shape, count in zip(SHAPES, wanted.counts, strict=False):
        (folder / shape).mkdir(parents=True)
        for number in range(count):
            picture(shape, wanted, rng).save(folder / shape / f"{number:03}.png")


def picture(shape: str, wanted: Folder, rng: np.random.Generator) -> Image.Image:
    """Draw a shape on an uneven ground."""
    size = (wanted.width, wanted.height)
    ground = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    radius = int(wanted.height * rng.uniform(0.15, 0.3))
    x, y = (int(rng.integers(radius, length - radius)) for length in size)
    colour = tuple(rng.integers(0, 256, 3).tolist())
    draw = ImageDraw.Draw(ground)
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape == "disc":
        draw.ellipse(box, fill=colour)
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    elif shape == "triangle":
        draw.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=colour)
    else:
        third = radius // 3
        draw.rectangle((x - third, y - radius, x + third, y + radius), fill=colour)
        draw.rectangle((x - radius, y - third, x + radius, y + third), fill=colour)
    return ground.convert(wanted.mode)


def fitted(images: Path, run: Path, minutes: float, seed: int) -> list[Any]:
    """The rest of a row: measure, what it is of the network and of simple classifiers, warnings, and the time."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "trainless.cli", "fit", str(images), "--time", f"{60 * minutes:g}s", "--seed", str(seed),
         "--out", str(run), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    over = time.perf_counter() - start - 60 * minutes
    facts = json.loads(done.stdout)
    scale = SCALES[facts["measure"]]
    rivals = [scale.text(rival["value"]) for rival in facts["baselines"]]
    is_kept = "yes" if over <= OVER * 60 * minutes else "no"
    return [
        scale.title, scale.text(facts["measure_value"]), *[*rivals, ""][:2], len(facts["warnings"]), facts["epochs"],
        f"{over:+.1f}", is_kept,
    ]  # fmt: skip


if __name__ == "__main__":
    main()
