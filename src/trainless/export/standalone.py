"""Tell the class of images by the network beside this file: needs onnxruntime, Pillow and NumPy, and nothing else.

Photographs of telephones (.heic) also need pillow-heif.

    python predict.py IMAGE_OR_FOLDER ... [--json]

From Python: ``Classifier().probabilities(path)`` gives a probability for each of ``Classifier().classes``.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, features

from trainless.data.pixels import FORMATS, prepare

SUFFIXES = (
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg",
    ".jpf", ".jpg", ".jpx", ".png", ".tif", ".tiff", ".webp",
)  # fmt: skip
HEIF = (".heic", ".heics", ".heif", ".heifs", ".hif")
AVIF = (".avif", ".avifs")
# Folders that systems put beside the files of people.
SYSTEM = {
    "__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "$recycle.bin",
    "system volume information", "lost+found", "__pycache__",
}  # fmt: skip


class Classifier:
    """The network of an ONNX file, and all that has to happen to an image before it; the file says both.

    Args:
        path: the file that ``trainless export --format onnx`` wrote; None takes ``model.onnx`` beside this one.

    Raises:
        ValueError: there is no such file, it is no ONNX file, or it does not say how images are prepared.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = path or Path(__file__).with_name("model.onnx")
        if not path.is_file():
            raise ValueError(f"There is no {path}: write it by trainless export --format onnx.")
        try:
            self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # one of many of onnxruntime's own
            raise ValueError(f"{path} is damaged: write it by trainless export --format onnx.") from error
        facts = self.session.get_modelmeta().custom_metadata_map
        if not {"classes", "channels", "height", "width", "resize", "deep_white"} <= set(facts):
            raise ValueError(
                f"{path} does not say how images are prepared: write it by trainless export --format onnx."
            )
        self.classes: list[str] = json.loads(facts["classes"])
        self.shape = tuple(int(facts[name]) for name in ("channels", "height", "width"))
        self.resize, self.deep_white = facts["resize"], int(facts["deep_white"])
        self.formats = (*FORMATS, "HEIF") if has_heif() else FORMATS

    def probabilities(self, path: Path | str) -> NDArray[np.float64]:
        """Give the probability of each class for one image file."""
        with warnings.catch_warnings(), Image.open(path, formats=self.formats) as image:
            warnings.simplefilter("ignore")  # Pillow warns of large pictures and of damaged EXIF data
            image.load()
            channels, height, width = self.shape
            pixels = prepare(image, channels, height, width, self.resize, self.deep_white)
        (found,) = self.session.run(None, {"images": pixels[None].astype(np.float32) / np.float32(255)})
        numbers: NDArray[np.float64] = found[0].astype(np.float64)
        if self.session.get_outputs()[0].name == "logits":
            numbers = np.exp(numbers - numbers.max())
        shares: NDArray[np.float64] = numbers / numbers.sum()
        return shares


def has_heif() -> bool:
    """Let Pillow read HEIF where pillow-heif is installed, and tell whether it is."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def remedy(path: Path) -> str:
    """Say what has to be installed for an image to be read; empty where nothing is wanting."""
    suffix = path.suffix.lower()
    if suffix in HEIF and not has_heif():
        return "HEIF image(s), which are read after pip install pillow-heif"
    if suffix in AVIF and not features.check("avif"):
        return "AVIF image(s), which are read after pip install --upgrade pillow"
    return ""


def image_files(path: Path) -> list[Path]:
    """Find the images in a folder, without hidden ones and those that systems put there; or give the file.

    Raises:
        ValueError: there is no such folder or file.
    """
    if not path.exists():
        raise ValueError(f"There is no {path}: give an image, or a folder of images.")
    if not path.is_dir():
        return [path]
    found = []
    for file in path.rglob("*"):
        parts = file.relative_to(path).parts
        left_out = any(name.startswith(".") or name.casefold() in SYSTEM for name in parts)
        if file.suffix.lower() in (*SUFFIXES, *HEIF) and not left_out and file.is_file():
            found.append(file)
    return sorted(found, key=Path.as_posix)


def visible(text: str) -> str:
    """Write out what a terminal would obey rather than show, such as a name that clears it."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def main() -> int:
    """Print path, class and probability of each image; exit code 1 where one cannot be read, 2 for wrong input."""
    parser = argparse.ArgumentParser(description="Tell the class of images.")
    parser.add_argument("images", nargs="+", type=Path, help="images, or folders of images")
    parser.add_argument("--json", action="store_true", help="print one JSON document with all probabilities")
    arguments = parser.parse_args()
    try:
        paths = [file for given in arguments.images for file in image_files(given)]
        if not paths:
            raise ValueError(f"There are no images in {', '.join(map(str, arguments.images))}: give others.")
        classifier = Classifier()
    except ValueError as error:
        print(visible(str(error)), file=sys.stderr)
        return 2
    rows, broken, unread = [], 0, dict[str, list[str]]()
    for path in paths:
        if wanting := remedy(path):
            unread.setdefault(wanting, []).append(str(path))
            continue
        try:
            shares = classifier.probabilities(path)
        except Exception as error:  # whatever Pillow raises on a damaged file
            print(visible(f"left out: {path} ({error})"), file=sys.stderr)
            broken += 1
            continue
        guess, named = classifier.classes[int(shares.argmax())], zip(classifier.classes, shares.tolist(), strict=True)
        rows.append({"path": str(path), "class": guess, "share": float(shares.max()), "probabilities": dict(named)})
    for wanting, names in unread.items():
        print(visible(f"left out: {len(names)} {wanting}: {', '.join(names)}"), file=sys.stderr)
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(f"{visible(str(row['path']))}\t{visible(str(row['class']))}\t{row['share']:.4f}")
    return 1 if broken or unread else 0


if __name__ == "__main__":
    sys.exit(main())
