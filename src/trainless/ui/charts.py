"""Figures and tables of the page as HTML and SVG: they follow the page's colours and need no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from trainless.costs import counted_costs
from trainless.report.common.formats import compact, costs_text, percent

__all__ = ["bars", "candidate_scatter", "confusion_table", "training_curve"]

_WIDTH, _HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 40


def candidate_scatter(rows: Sequence[Mapping[str, Any]]) -> str:
    """Draw the score of each candidate against its multiply-adds; the best is marked.

    Args:
        rows: of `trainless.ui.candidates.candidates`, the best first.

    Example:
        >>> candidate_scatter([]).startswith('<p class="note">')
        True
    """
    shown = [row for row in rows if row["score"] is not None]
    if not shown:
        return '<p class="note">The first candidates are being scored.</p>'
    across = _Scale([math.log10(max(row["flops"], 1)) for row in shown], _LEFT, _WIDTH - _RIGHT)
    up = _Scale([row["score"] for row in shown], _HEIGHT - _BOTTOM, _TOP)
    points = []
    for rank, row in reversed(list(enumerate(shown))):  # the best last, on top
        x, y = across(math.log10(max(row["flops"], 1))), up(row["score"])
        kind, size = ("best", 7) if rank == 0 else ("point", 4)
        told = f"{row['architecture']}: {costs_text(row, counted_costs())}"
        points.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size}"><title>{escape(told)}</title></circle>'
        )
    ticks = [(across(math.log10(at)), compact(at)) for at in _costs(10**across.low, 10**across.high)]
    body = _axes(ticks, [], "multiply-adds of one image, logarithmic", "score: higher is better") + "".join(points)
    return _svg(body, f"Score against cost of {len(shown)} candidates")


def training_curve(curve: Mapping[str, Sequence[float]]) -> str:
    """Draw the accuracy on validation images by epoch; the best epoch is marked.

    Args:
        curve: ``valid_accuracies``, in percent.

    Example:
        >>> "epoch 2: 90.0 %" in training_curve({"valid_accuracies": [50.0, 90.0]})
        True
    """
    values = [value if math.isfinite(value) else 0.0 for value in curve["valid_accuracies"]]
    if not values:
        return '<p class="note">The training has not ended its first epoch.</p>'
    across = _Scale([1, max(2, len(values))], _LEFT, _WIDTH - _RIGHT, margin=0.03)
    up = _Scale([min(values), max(values), min(100.0, max(values) + 2)], _HEIGHT - _BOTTOM, _TOP)
    points = [(across(epoch), up(value)) for epoch, value in enumerate(values, 1)]
    best = int(np.argmax(values))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle class="{"best" if number == best else "point"}" cx="{x:.1f}" cy="{y:.1f}" '
        f'r="{6 if number == best else 2.5}"><title>epoch {number + 1}: {values[number]:.1f} %</title></circle>'
        for number, (x, y) in enumerate(points)
    )
    whole = sorted({round(at) for at in across.ticks(5) if 1 <= round(at) <= max(2, len(values))})
    ticks = [(across(at), str(at)) for at in whole]
    rises = [(up(at), f"{at:g} %") for at in up.ticks(4) if at <= 100]
    body = _axes(ticks, rises, "epoch", "") + f'<polyline class="line" points="{line}"/>' + dots
    return _svg(body, f"Validation accuracy of {len(values)} epochs")


def confusion_table(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Write a confusion matrix as a table: rows are true classes, columns what was guessed.

    Example:
        >>> "50 %" in confusion_table([[1, 1], [0, 2]], ["cat", "dog"])
        True
    """
    heads = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in classes)
    rows = []
    for number, (name, counts) in enumerate(zip(classes, confusion, strict=True)):
        total = sum(counts)
        cells = "".join(_cell(count, total, column == number) for column, count in enumerate(counts))
        found = percent(counts[number] / total, 0) if total else ""
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}<td class="found">{found}</td></tr>')
    return (
        '<div class="scroll"><table class="confusion"><thead><tr><th scope="col" class="corner">true \\ guessed</th>'
        f'{heads}<th scope="col">found</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def bars(shares: Sequence[tuple[str, float]], most: int = 8) -> str:
    """Write the shares of classes as bars, the highest first.

    Example:
        >>> "97.0 %" in bars([("cat", 0.03), ("dog", 0.97)])
        True
    """
    ranked = sorted(shares, key=lambda bar: -bar[1])
    rows = "".join(
        f'<div class="bar{" first" if rank == 0 else ""}"><span>{escape(name)}</span>'
        f'<i><b style="width:{100 * share:.1f}%"></b></i><em>{percent(share)}</em></div>'
        for rank, (name, share) in enumerate(ranked[:most])
    )
    left = len(ranked) - most
    more = f'<p class="note">{left} other classes share the rest.</p>' if left > 0 else ""
    return f'<div class="bars">{rows}</div>{more}'


def _cell(count: int, total: int, is_right: bool) -> str:
    share = count / total if total else 0.0
    kind = "right" if is_right else "wrong" if count else "none"
    return f'<td class="{kind}" style="--share:{100 * share:.0f}%">{f"{count:,}" if count else ""}</td>'


class _Scale:
    """Maps values to places of a figure, with some room at both ends."""

    def __init__(self, values: Sequence[float], start: float, end: float, margin: float = 0.07) -> None:
        low, high = min(values), max(values)
        room = (high - low) * margin or max(abs(high), 1.0) * 0.05
        self.low, self.high, self.start, self.end = low - room, high + room, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Round values within."""
        return _round_numbers(self.low, self.high, most)


def _costs(low: float, high: float) -> list[float]:
    """Round numbers of a logarithmic scale."""
    if high < 8 * low:
        return _round_numbers(low, high, 4)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [first * 10.0**power for power in powers for first in (1, 2, 5)]
    found = [at for at in found if low <= at <= high]
    return found[:: math.ceil(len(found) / 6)]


def _round_numbers(low: float, high: float, most: int) -> list[float]:
    """Round numbers of a scale, evenly apart."""
    rough = (high - low) / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [round(number * step, 10) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _axes(across: Sequence[tuple[float, str]], up: Sequence[tuple[float, str]], below: str, beside: str) -> str:
    bottom, middle = _HEIGHT - _BOTTOM, (_TOP + _HEIGHT - _BOTTOM) / 2
    parts = [f'<line class="axis" x1="{_LEFT}" y1="{bottom}" x2="{_WIDTH - _RIGHT}" y2="{bottom}"/>']
    for x, text in across:
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(text)}</text>')
    for y, text in up:
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{below}</text>')
    if beside:
        parts.append(f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{beside}</text>')
    return "".join(parts)


def _svg(body: str, title: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{body}</svg>'
