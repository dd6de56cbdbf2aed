"""The program ``predict.py`` that goes with an exported network: what this package runs, in one file without it."""

from __future__ import annotations

import ast
from pathlib import Path

import trainless.data.pixels as pixels

__all__ = ["PREDICT", "predict_script"]

PREDICT = "predict.py"
"""Name of the program in a folder."""


def predict_script() -> str:
    """Write the program: `trainless.export.standalone`, with `trainless.data.pixels` in place of its import.

    Example:
        >>> script = predict_script()
        >>> "trainless.data" in script, "def prepare(" in script
        (False, True)
    """
    program = Path(__file__).with_name("standalone.py").read_text(encoding="utf-8")
    functions = _without_head(Path(pixels.__file__).read_text(encoding="utf-8"))
    return program.replace("from PIL import Image, features\n", "from PIL import Image, ImageOps, features\n").replace(
        "from trainless.data.pixels import FORMATS, prepare\n", functions
    )


def _without_head(source: str) -> str:
    """A module without its docstring, its imports and its public names."""
    head = [node for node in ast.parse(source).body if isinstance(node, ast.Expr | ast.Import | ast.ImportFrom)]
    last = max(node.end_lineno or 0 for node in head)
    lines = [line for line in source.splitlines()[last:] if not line.startswith("__all__")]
    return "\n".join(lines).strip() + "\n"
