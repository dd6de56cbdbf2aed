"""The colours of interactive figures."""

from __future__ import annotations

__all__ = ["DIVERGING", "GREY", "KIND_COLOURS", "LINE_COLOURS", "SCALE"]

# Told apart with any kind of colour vision, and legible on white and on near-black alike.
KIND_COLOURS = {"data-independent": "#3f87d0", "data-dependent": "#dd7a2b", "mix": "#2a9d8f", "unknown": "#8a8f98"}
LINE_COLOURS = ("#3f87d0", "#dd7a2b", "#2a9d8f", "#a66bbe", "#b8901c", "#d1495b")
# Blue for opposite, red for equal, nearly white for neither; light up to 0.8 either way, so that numbers stay legible.
DIVERGING = (
    (0.0, "#1f5c99"), (0.06, "#4b8cbf"), (0.1, "#97c2de"), (0.25, "#cfe2f0"), (0.5, "#f7f7f7"),
    (0.75, "#fad3c3"), (0.9, "#f0a78e"), (0.94, "#cf5246"), (1.0, "#a01a2b"),
)  # fmt: skip
SCALE = ("#6a5acd", "#2a9d8f", "#e9b020")
GREY = "#8a939b"  # legible on both grounds
