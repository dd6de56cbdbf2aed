"""Previews that the page computes in a process of their own: an audit of data, class probabilities of an image."""

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

__all__ = ["classify_image", "png_url", "preview_data"]

_EXAMPLES = 12  # classes of which an image is shown
_SHOWN = 320  # pixels of the longer side of an image that is shown again


def preview_data(workspace: Workspace, form: FitForm) -> dict[str, Any]:
    """Audit the data of a form, with an example image of each class.

    Args:
        workspace: folders that may be read.
        form: which data, and how they are split and resized.

    Returns:
        ``rows`` and ``advice`` as `trainless.data.Audit` gives them, ``classes`` and ``images`` as numbers,
        ``examples`` with a class and the URL of an image each; or only ``error``, one sentence.

    Example:
        >>> found = preview_data(Workspace(Path("photos"), Path("runs")), FitForm(data="digits"))
        >>> found["classes"], found["images"], [name for name, _ in found["examples"]][:3]
        (10, 1797, ['0', '1', '2'])
    """
    from trainless.data import audit

    try:
        plan = form.plan()
        source = workspace.source(form.data)
        check_source(source, workspace.root(form.data))
        splits = plan.load(source)
        report = audit(splits)
    except TrainlessError as error:
        return {"error": str(error)}
    labels, names = splits.train.labels, splits.train.class_names
    first = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:_EXAMPLES]]
    return {
        "rows": report.rows(), "advice": report.advice(), "classes": len(names), "images": report.total,
        "examples": [(names[labels[number]], png_url(splits.train.images[number])) for number in first],
    }  # fmt: skip


def classify_image(workspace: Workspace, run: str, name: str, content: bytes) -> dict[str, Any]:
    """Compute the class probabilities of one image file by the network of a run.

    Args:
        workspace: folders that may be read.
        run: name of the run.
        name: of the image file, for messages.
        content: its bytes.

    Returns:
        ``probabilities``, a class and its probability each, and URLs of the image as it was ``given`` and as it was
        ``seen`` by the network; or only ``error``, one sentence.
    """
    import tempfile

    from trainless.automl.folders import RunFolder
    from trainless.data.image_files import read_header, read_pixels
    from trainless.data.preprocessing import Preprocessing

    try:
        folder = RunFolder.read(workspace.run(run))
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary, "image")
            path.write_bytes(content)
            try:
                header = read_header(path)
                pixels = read_pixels(path, folder.preprocessing)
                shrink = min(1.0, _SHOWN / max(header.height, header.width))
                size = max(1, round(shrink * header.height)), max(1, round(shrink * header.width))
                given = png_url(read_pixels(path, Preprocessing(1 if header.grey else 3, *size)))
            except TrainlessError as error:
                return {"error": str(error).replace(str(path), name)}
        probabilities = folder.class_probabilities(pixels[np.newaxis])[0].tolist()
    except TrainlessError as error:
        return {"error": str(error)}
    return {
        "probabilities": list(zip(folder.classes, probabilities, strict=True)), "given": given,
        "seen": png_url(pixels),
    }  # fmt: skip


def png_url(pixels: np.ndarray) -> str:
    """Encode an image as a ``data:`` URL of a PNG.

    Args:
        pixels: uint8, channels x height x width, with 1 or 3 channels.

    Example:
        >>> png_url(np.zeros((1, 2, 2), np.uint8))[:22]
        'data:image/png;base64,'
    """
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
