"""The frame of every page: one HTML document that loads nothing.

Its styles, its script and plotly.js are inside, and its content security policy forbids the browser to fetch anything.
Colours follow the reader's preference for light or dark.
"""

from __future__ import annotations

import json
import math
from html import escape
from importlib import resources
from string import Template
from typing import Any

__all__ = ["data_block", "document", "read"]


def document(title: str, body: str, scripts: tuple[str, ...] = ("paint.js",)) -> str:
    """Put the inside of a page into the frame.

    Args:
        title: plain text.
        body: HTML; whatever came from data is escaped in it already.
        scripts: files of this package that run at the end of the page.

    Example:
        >>> "<title>1 &lt; 2</title>" in document("1 < 2", "<h1>1 &lt; 2</h1>")
        True
    """
    from plotly.offline import get_plotlyjs

    return Template(read("frame.html")).substitute(
        title=escape(title),
        style=read("style.css"),
        plotly=get_plotlyjs(),
        body=body,
        script="\n".join(read(script) for script in scripts),
    )


def read(name: str) -> str:
    """Read a file of this package: part of a page.

    Example:
        >>> read("frame.html").splitlines()[0]
        '<!DOCTYPE html>'
    """
    return resources.files("trainless.report.common").joinpath(name).read_text(encoding="utf-8")


def data_block(name: str, value: Any) -> str:
    """Write data as a JSON element of a page, for its script to read; what is not finite becomes null.

    Example:
        >>> data_block("points", {"</script>": [1.5, float("nan")]})
        '<script type="application/json" id="points">{"\\\\u003c/script>":[1.5,null]}</script>'
    """
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Neither </script> nor <!-- may stand in it; in JSON this can only be inside a string.
    return f'<script type="application/json" id="{escape(name)}">{text.replace("<", chr(92) + "u003c")}</script>'


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
