"""How static figures look: widths, fonts, colours; and how they are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainless.errors import UnknownNameError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLUMN", "FORMATS", "LINES", "PAGE", "STYLE", "check_format", "draw_file", "format_of", "new_figure",
           "save_figure"]  # fmt: skip

FORMATS = ("png", "svg", "pdf")
"""What a static figure can be written as."""

COLUMN, PAGE = 3.4, 7.0  # widths in inches of one and of two columns
# The palette of Okabe and Ito, told apart with any kind of colour vision.
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "trainless",
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}


def check_format(name: str) -> str:
    """Refuse a format that figures cannot be written in.

    Example:
        >>> check_format("svg")
        'svg'
    """
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return name


def format_of(path: Path) -> str:
    """Give the format that the ending of a path names.

    Raises:
        UnknownNameError: figures cannot be written in it.

    Example:
        >>> format_of(Path("search.PNG"))
        'png'
    """
    return check_format(path.suffix.removeprefix(".").lower())


def save_figure(figure: Figure, path: Path, name: str) -> Path:
    """Write a figure in a format, whatever the ending of the path; the same figure gives the same file."""
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(name)
    figure.savefig(path, format=name, metadata=metadata)
    return path


def draw_file(path: str | Path, draw: Callable[[], Figure]) -> None:
    """Draw a figure in the common style and write it in the format that the path's ending names.

    Args:
        path: file to write, ``.png`` (300 dots an inch), ``.svg`` or ``.pdf``.
        draw: makes the figure; not called where the ending is another.

    Raises:
        UnknownNameError: the path has another ending.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw_file(Path(folder) / "empty.png", lambda: new_figure(1.0))
        ...     (Path(folder) / "empty.png").read_bytes()[1:4]
        b'PNG'
    """
    from matplotlib import rc_context

    target = Path(path)
    name = format_of(target)
    with rc_context(STYLE):
        save_figure(draw(), target, name)


def new_figure(height: float, width: float = COLUMN) -> Figure:
    """Make an empty figure of a size in inches."""
    from matplotlib.figure import Figure  # without pyplot, which would choose a backend for the whole process

    return Figure(figsize=(width, height), layout="constrained")
