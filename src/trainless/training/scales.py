"""How measures of a network are written: their titles, units and digits, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SCALES", "Scale"]


@dataclass(frozen=True)
class Scale:
    """The scale of a measure on which people read it.

    Args:
        title: what it is called.
        unit: percent or nats.
        form: format of a value.
        higher_is_better: the direction; training and tuning maximise every measure, one where lower is better with its
            sign turned.

    Example:
        >>> SCALES["log-loss"].text(SCALES["log-loss"].turned(-0.7125)), SCALES["accuracy"].text(98.5)
        ('0.7125 nats', '98.50 %')
    """

    title: str
    unit: str
    form: str
    higher_is_better: bool

    def turned(self, value: float) -> float:
        """Turn what is maximised into the measure by its name, or the other way round."""
        return value if self.higher_is_better else -value

    def text(self, value: float) -> str:
        """Write a value with its unit."""
        return f"{value:{self.form}} {self.unit}"


SCALES = {
    "accuracy": Scale("accuracy", "%", ".2f", True),
    "balanced-accuracy": Scale("balanced accuracy", "%", ".2f", True),
    "macro-f1": Scale("macro-F1", "%", ".2f", True),
    "log-loss": Scale("log loss", "nats", ".4f", False),
}
"""By the names of `trainless.training.MEASURES`."""
