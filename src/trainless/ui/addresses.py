"""Where the page and the files of a run are served."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["HOST", "run_address", "run_named"]

HOST = "127.0.0.1"
"""The only address that the page is served at."""

_ITSELF = "this-folder"  # the folder of runs itself, for which a dot would be lost


def run_address(run: str, file: str) -> str:
    """Give the address of a file of a run.

    Example:
        >>> run_address("photos 1", "model.onnx")
        '/runs/photos%201/model.onnx'
    """
    return f"/runs/{_ITSELF if run == '.' else quote(run, safe='')}/{file}"


def run_named(part: str) -> str:
    """Give the run that a part of an address, unquoted, names.

    Example:
        >>> run_named("photos 1"), run_named("this-folder")
        ('photos 1', '.')
    """
    return "." if part == _ITSELF else part
