"""What the page asks of a process beside its own: a look at data, a guess at a picture."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainless.errors import TrainlessError
from trainless.ui.form import FitForm
from trainless.ui.workspace import Workspace, check_source

__all__ = ["guess", "look", "picture"]

_PICTURES = 12
_SHOWN = 320  # pixels of a picture that is shown again


def look(places: Workspace, order: FitForm) -> dict[str, Any]:
    """Audit the data of an order.

    Returns:
        ``rows`` and ``advice`` as `trainless.data.Audit` gives them, ``classes`` and ``images`` as numbers,
        ``pictures`` with a class and a picture each; or only ``error``, one sentence.

    Example:
        >>> found = look(Workspace(Path("photos"), Path("runs")), FitForm(data="digits"))
        >>> found["classes"], found["images"], [name for name, _ in found["pictures"]][:3]
        (10, 1797, ['0', '1', '2'])
    """
    from trainless.data import audit, load_splits

    try:
        seed, image_size = order.split()
        source = places.source(order.data)
        check_source(source, places.root(order.data))
        splits = load_splits(source, seed=seed, image_size=image_size)
        report = audit(splits)
    except TrainlessError as error:
        return {"error": str(error)}
    labels, names = splits.train.labels, splits.train.class_names
    first = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:_PICTURES]]
    return {
        "rows": report.rows(), "advice": report.advice(), "classes": len(names), "images": report.total,
        "pictures": [(names[labels[number]], picture(splits.train.images[number])) for number in first],
    }  # fmt: skip


def guess(places: Workspace, run: str, name: str, content: bytes) -> dict[str, Any]:
    """Ask the network of a run for the class of a picture.

    Args:
        places: folders that may be read.
        run: name of the run.
        name: what the picture is called.
        content: the picture's file.

    Returns:
        ``shares``, a class and its share each, ``picture`` as it was given and ``seen`` as the network sees it; or only
        ``error``, one sentence.
    """
    import tempfile

    from trainless.automl.folders import RunFolder
    from trainless.data.image_files import read_header, read_pixels

    try:
        folder = RunFolder.read(places.run(run))
        channels, height, width = folder.input_shape
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, "picture")
            path.write_bytes(content)
            try:
                header = read_header(path)
                pixels = read_pixels(path, channels == 1, height, width)
                shrink = min(1.0, _SHOWN / max(header.height, header.width))
                size = max(1, round(shrink * header.height)), max(1, round(shrink * header.width))
                shown = picture(read_pixels(path, header.grey, *size))
            except TrainlessError as error:
                return {"error": str(error).replace(str(path), name)}
        shares = folder.shares(pixels[np.newaxis])[0].tolist()
    except TrainlessError as error:
        return {"error": str(error)}
    return {"shares": list(zip(folder.classes, shares, strict=True)), "picture": shown, "seen": picture(pixels)}


def picture(pixels: np.ndarray) -> str:
    """Write an image, uint8 of channels x height x width, as the address of a PNG that holds it.

    Example:
        >>> picture(np.zeros((1, 2, 2), np.uint8))[:22]
        'data:image/png;base64,'
    """
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
