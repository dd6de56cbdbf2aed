"""What pages are built of: sections, tabs, lists of entries, and places for figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from trainless.report.common.interactive import Spec
from trainless.report.common.pages import data_block

__all__ = ["NO_SCRIPT", "entries", "figure", "panel", "protocol", "section", "tabs"]

NO_SCRIPT = "<noscript><p>The figures need JavaScript, which is off in this browser.</p></noscript>"


def section(name: str, heading: str, inside: str, level: int = 2) -> str:
    """Write a section of a page.

    Args:
        name: its name in the document; ``name-head`` is that of its heading.
        heading: plain text.
        inside: HTML, taken as it is.
        level: of the heading, 2 for the first below that of the page.

    Example:
        >>> print(section("sizes", "Sizes < 1", "<p>none</p>"))
        <section aria-labelledby="sizes-head">
        <h2 id="sizes-head">Sizes &lt; 1</h2>
        <p>none</p>
        </section>
    """
    return (
        f'<section aria-labelledby="{name}-head">\n<h{level} id="{name}-head">{escape(heading)}</h{level}>\n'
        f"{inside}\n</section>"
    )


def protocol(values: Mapping[str, str], name: str = "protocol", level: int = 2) -> str:
    """Write the section that tells how results came about, as names and values; nothing where there are none.

    Args:
        values: plain text.
        name: as for `section`.
        level: as for `section`.

    Example:
        >>> "<dt>seed</dt><dd>&lt;0&gt;</dd>" in protocol({"seed": "<0>"}), protocol({})
        (True, '')
    """
    return section(name, "Protocol", entries(values.items()), level) if values else ""


def entries(values: Iterable[tuple[str, str]]) -> str:
    """Write a list of names and values.

    Args:
        values: plain text.

    Example:
        >>> entries([("images", "1 < 2")])
        '<dl class="pairs"><dt>images</dt><dd>1 &lt; 2</dd></dl>'
    """
    rows = "".join(f"<dt>{escape(str(each))}</dt><dd>{escape(str(value))}</dd>" for each, value in values)
    return f'<dl class="pairs">{rows}</dl>'


def figure(name: str, label: str, spec: Spec, least_width: int = 300) -> str:
    """Write the place of an interactive figure with its data; the script ``study.js`` draws it.

    Args:
        name: its name in the document.
        label: what it shows, plain text, for those who cannot see it.
        spec: as `trainless.report.plots.spec` gives it, with a height in its layout.
        least_width: in pixels; a narrower window scrolls it.

    Example:
        >>> 'data-figure="curve-data"' in figure("curve", "a curve", {"data": [], "layout": {"height": 300}})
        True
    """
    size = f"height:{spec['layout']['height']}px;min-width:{least_width}px"
    return (
        f'<div class="scroll figure"><div id="{name}" data-figure="{name}-data" role="img" '
        f'aria-label="{escape(label)}" style="{size}"></div></div>{data_block(f"{name}-data", spec)}'
    )


def tabs(names: Sequence[str], label: str) -> str:
    """Write the tabs of the panels that follow; a page has at most one row of them.

    Args:
        names: one a panel, plain text.
        label: what can be chosen, plain text.

    Example:
        >>> tabs(["a", "b"], "Letters").count('role="tab"')
        2
    """
    buttons = "".join(
        f'<button type="button" role="tab" id="tab-{place}" aria-controls="panel-{place}">{escape(name)}</button>'
        for place, name in enumerate(names)
    )
    return f'<div class="tabs" role="tablist" aria-label="{escape(label)}" hidden>{buttons}</div>'


def panel(place: int, title: str, inside: str) -> str:
    """Write what a tab shows.

    Args:
        place: of its tab, from 0.
        title: plain text.
        inside: HTML, taken as it is.

    Example:
        >>> print(panel(0, "a & b", "<p>text</p>"))
        <div class="panel" id="panel-0" role="tabpanel" aria-labelledby="tab-0">
        <h2 class="title">a &amp; b</h2>
        <p>text</p></div>
    """
    return (
        f'<div class="panel" id="panel-{place}" role="tabpanel" aria-labelledby="tab-{place}">\n'
        f'<h2 class="title">{escape(title)}</h2>\n{inside}</div>'
    )
