"""Settings of a fit as they are typed on the page: as text, as a JSON document, as a `Plan`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any

from trainless.costs import COSTS
from trainless.errors import InputError

if TYPE_CHECKING:
    from trainless.automl import Plan
    from trainless.search import Limits

__all__ = ["FitForm"]


_LimitFields: Any = make_dataclass("_LimitFields", [(f"max_{name}", str, field(default="")) for name in COSTS])


@dataclass
class FitForm(_LimitFields):  # type: ignore[misc]
    """Settings of a fit as they are typed; an empty text is what is not asked for.

    Args:
        data: a name that `Workspace.source` takes.
        time: for all of it, such as ``20m``.
        max_params: most parameters, such as ``0.5M``; so for each cost of `trainless.costs.COSTS`.
        space: search space.
        measure: what the network shall be good at; empty where the data decide.
        seed: decides everything random.
        image_size: rows and columns of the images.
        resize: how images are brought to a square; empty where the data decide.
        mirror_average: ``yes`` where the network shall average over each image and its mirror image.
        epochs: of the training, instead of the time.
        evaluations: most architectures that are scored.

    Example:
        >>> FitForm(max_params="20k").limits()
        Limits(most={'params': 20000.0})
        >>> FitForm(max_params="few").limits()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: The limit on parameters is 'few', expected one above 0 such as 0.8M, 500k ...
    """

    data: str = "digits"
    time: str = "10m"
    space: str = "auto"
    measure: str = ""
    seed: str = "0"
    image_size: str = ""
    resize: str = ""
    mirror_average: str = ""
    epochs: str = ""
    evaluations: str = ""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> FitForm:
        """Take the values of a document that a form has; the others stay what they are."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: str(value) for name, value in document.items() if name in known})

    def document(self) -> dict[str, str]:
        """Give the values by name."""
        return asdict(self)

    def limits(self) -> Limits:
        """Read the limits.

        Raises:
            InputError: one of them is none.
        """
        from trainless.search.limits import Limits

        texts = {name: getattr(self, f"max_{name}") for name in COSTS}
        return Limits({
            name: COSTS[name].parse(text, f"The limit on {COSTS[name].title}")
            for name, text in texts.items() if text.strip()
        })  # fmt: skip

    def split(self) -> tuple[int, int | None]:
        """Read what decides how the images are read: the seed, and rows and columns or None."""
        return _whole(self.seed, "The seed", least=0) or 0, _whole(self.image_size, "The image size")

    def check(self) -> None:
        """Refuse at once what can be told without looking at the data.

        Raises:
            InputError: a value cannot be used.
        """
        self.limits()
        self.split()
        _whole(self.evaluations, "The number of architectures")
        if not _whole(self.epochs, "The number of epochs"):
            self._seconds()

    def plan(self) -> Plan:
        """Make the plan of a fit.

        Raises:
            InputError: a value cannot be used.
        """
        from trainless.automl import Plan

        self.check()
        seed, image_size = self.split()
        epochs, evaluations = _whole(self.epochs, "Epochs"), _whole(self.evaluations, "Architectures")
        return Plan(
            time=None if epochs else self._seconds(), limits=self.limits(), space=self.space,
            measure=self.measure or None, image_size=image_size, seed=seed, epochs=epochs,
            resize=self.resize or None, mirror_average=self.mirror_average == "yes", evaluations=evaluations,
        )  # fmt: skip

    def command(self, source: str, out: str) -> str:
        """Write the command that does the same, as far as there is one."""
        options = {
            "--out": out, **{f"--max-{name}": getattr(self, f"max_{name}") for name in COSTS}, "--space": self.space,
            "--measure": self.measure, "--image-size": self.image_size, "--resize": self.resize,
            "--seed": self.seed,
            "--time": "" if self.epochs.strip() else self.time,
        }  # fmt: skip
        given = [word for name, value in options.items() if value.strip() for word in (name, value.strip())]
        flags = ["--mirror-average"] if self.mirror_average == "yes" else []
        written = shlex.join(["trainless", "fit", source, *given, *flags])
        beyond = [f"{name} {value.strip()}" for name, value in (("epochs", self.epochs), ("architectures at most",
                  self.evaluations)) if value.strip()]  # fmt: skip
        return f"{written}  # with {', '.join(beyond)}, as the page asks for" if beyond else written

    def _seconds(self) -> float:
        from trainless.search.budgets import parse_budget

        try:
            budget = parse_budget(self.time)
        except InputError:
            budget = None
        if budget is None or budget.seconds is None or budget.evaluations is not None:
            raise InputError(f"The time is '{self.time}', expected one above 0 such as 90s, 20m or 1h.")
        return budget.seconds


def _whole(text: str, what: str, least: int = 1) -> int | None:
    """A whole number, None where there is no text."""
    if not text.strip():
        return None
    if not text.strip().isdecimal() or len(text) > 18 or int(text) < least:
        raise InputError(f"{what} is '{text}', expected a whole number of at least {least}.")
    return int(text)
