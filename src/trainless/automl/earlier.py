"""An earlier run that a fit starts from: its network, its images and its settings, kept beside the new fit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from trainless.automl.checkpoint import UNFINISHED
from trainless.automl.folders import RunFolder
from trainless.costs import COSTS
from trainless.data import ImageDataset, Splits, drop_leaks, fingerprint, load_splits
from trainless.errors import DataError, InputError, TrainlessError
from trainless.export import FORMATS, read_weights, take_weights, write_weights
from trainless.operations import MirrorAveraged
from trainless.search import Limits
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.types import Architecture, Task

if TYPE_CHECKING:
    from trainless.automl.results import TestResult
    from trainless.search_spaces.blueprint import Blueprint
    from trainless.training import TrainingResult

__all__ = ["EarlierRun", "earlier_run", "images_key"]

_COPY = "start.safetensors"
_OPTIONS = {"from": "--from (from_run in Python)", "grow": "--grow", "shrink": "--shrink"}
_SHARED = ("measure", "photographs", "mirror_average")  # settings of a fit of the same images, where none are given
_KEPT = ("seed", "images", "origin", *_SHARED)
_READ_SO = ("image_size", "resize")


@dataclass(frozen=True, eq=False)
class EarlierRun:
    """An earlier run that a fit starts from, and what the fit makes of it.

    Args:
        use: ``"from"`` starts from its weights on other images; ``"grow"`` and ``"shrink"`` make a larger or smaller
            network of it for the same images.
        path: its folder.
        facts: its document of facts.
        weights: of its network, as in `trainless.export.PlainCode`.
    """

    use: str
    path: str
    facts: Mapping[str, Any]
    weights: Mapping[str, torch.Tensor]

    @classmethod
    def read(cls, path: str | os.PathLike[str], use: str, folder: Path | None = None, *, go_on: bool = False) -> Self:
        """Read a run, or its copy in the folder of a fit that was interrupted or is gone on with.

        None of its code is run.

        Args:
            path: the folder of the run.
            use: what the fit makes of it.
            folder: that of the fit.
            go_on: whether the fit is gone on with, finished or not.

        Raises:
            InputError: it is no run, is damaged, or its network is one that no fit can start from.
        """
        named, copy = os.path.abspath(path), Path(folder or "", _COPY)
        if folder is not None and copy.exists() and (go_on or Path(folder, UNFINISHED).exists()):
            found, weights = read_weights(copy)
            if found.get("run") == named:
                return cls(use, named, json.loads(found["facts"]), weights)
        facts = RunFolder.read(Path(path)).facts
        found, weights = read_weights(Path(path, FORMATS["safetensors"]))
        run = cls(use, named, facts, weights)
        if found.get("architecture") != facts.get("architecture"):
            raise run._refused("its weights and fit.json are of different networks: fit it again")
        run._check()
        return run

    def __str__(self) -> str:
        return f"{self.use} {self.path}"

    def _refused(self, why: str) -> InputError:
        return InputError(f"A fit cannot start from '{self.path}': {why}.")

    def _check(self) -> None:
        """Refuse a run whose files do not belong together, or that has nothing to start from."""
        if self.facts.get("pretrained"):
            raise self._refused(
                "its network has pretrained features, which a fit in the space pretrained starts from anyway; give a "
                "run from scratch"
            )
        if "setting" not in self.facts:
            raise self._refused(
                "an earlier version of trainless wrote it, without its images and settings: fit it again"
            )
        try:
            self.network()
            _ = self.document(), self.facts["limits"], [self.facts["setting"][name] for name in _KEPT]
        except (TrainlessError, KeyError, TypeError, ValueError) as error:
            why = " ".join(str(error).split()).rstrip(".")
            raise self._refused(f"its files are damaged or of different fits ({why}): fit it again") from error

    def keep(self, folder: Path) -> None:
        """Copy what a fit starts from to its folder, so that it goes on though the run is no more."""
        write_weights(folder / _COPY, self.weights, {"run": self.path, "facts": json.dumps(self.facts)})

    @staticmethod
    def forget(folder: Path) -> None:
        """Remove what a fit before started from, whose network has been replaced."""
        (folder / _COPY).unlink(missing_ok=True)

    # Its network.

    @property
    def space(self) -> SearchSpace:
        """The search space, in the size that its network has."""
        name, _, options = str(self.facts["space"]).partition(", ")
        return search_space(f"{name}({options})" if options else name)

    @property
    def architecture(self) -> Architecture:
        """Which network of the space it is."""
        return self.space.parse(self.facts["architecture"])

    @property
    def task(self) -> Task:
        """The images and classes that it learnt."""
        channels, height, width = self.facts["input_shape"]
        return Task("earlier", len(self.facts["classes"]), channels, height, width)

    @property
    def blueprint(self) -> Blueprint:
        """What its network is built from."""
        return self.space.blueprint(self.space.canonical(self.architecture), self.task)

    def network(self) -> torch.nn.Module:
        """Build its network, with its weights, in eval mode."""
        network = self.blueprint.build()
        take_weights(MirrorAveraged(network) if self.facts["setting"]["mirror_average"] else network, self.weights)
        return network.eval()

    def cost(self, name: str) -> float:
        """Give one of the costs that its network was measured to have."""
        return float(self.facts[COSTS[name].column])

    # What a fit takes from it.

    def settled(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Settle what a plan leaves open, by the run.

        Args:
            plan: the fields of a `trainless.automl.Plan`.

        Returns:
            Those that are settled, by name.

        Raises:
            InputError: the plan asks for what cannot be made of the run.
        """
        space = self.space if plan["space"] == "auto" else search_space(plan["space"])
        if space.name != self.space.name:
            raise InputError(
                f"The search space is {space.name}, but the network of '{self.path}' is one of {self.space.label}: "
                "leave out --space, or give another size of the same space."
            )
        if self.use == "from":
            return {"space": space}
        if given := [name for name in _READ_SO if plan[name] is not None]:
            raise InputError(
                f"The {given[0]} is given, but {_OPTIONS[self.use]} reads images as '{self.path}' did: leave it out."
            )
        setting = {name: plan[name] or self.facts["setting"][name] for name in _SHARED}
        return {"space": space, "limits": self._limits(plan["limits"]), **setting}

    def _limits(self, given: Limits) -> Limits:
        """The limits of the run, with those that are given in their place."""
        before, option = self.facts["limits"], _OPTIONS[self.use]
        for name, most in given.most.items():
            least = max(before.get(name, 0.0), self.cost(name))
            if self.use == "grow" and most < least:
                raise InputError(
                    f"The limit on {name} is {most:,.10g}, but {option} needs wider ones than '{self.path}', at least "
                    f"{least:,.10g}."
                )
            if self.use == "shrink" and most > before.get(name, most):
                raise InputError(
                    f"The limit on {name} is {most:,.10g}, but {option} needs tighter ones than '{self.path}', at most "
                    f"{before[name]:,.10g}."
                )
        limits = Limits({**before, **given.most})
        if self.use == "shrink" and not limits.broken(self.cost):
            raise InputError(
                f"The network of '{self.path}' keeps the limits already ({limits}): {option} needs a tighter one, such "
                f"as --max-params {int(self.cost('params')) // 2}."
            )
        return limits

    def load(self, source: str | os.PathLike[str] | ImageDataset | None = None) -> Splits:
        """Read the images of the run, in the same parts.

        Args:
            source: where they are now; None is where they were.

        Raises:
            InputError: they cannot be read.
        """
        origin = dict(self.facts["setting"]["origin"])
        is_dropped, known = origin.pop("drop_leaks"), origin.pop("source", None)
        if source is None and known is None:
            raise InputError(f"The run '{self.path}' does not say where its images are: give them too.")
        try:
            found = load_splits(known if source is None else source, **origin)
        except DataError as error:
            raise InputError(f"The images of the run '{self.path}' are needed once more: {error}") from error
        return drop_leaks(found) if is_dropped else found

    def check(self, splits: Splits) -> None:
        """Refuse images that are not those of the run, where they have to be.

        Raises:
            InputError: they are others.
        """
        if self.use != "from" and images_key(splits) != self.facts["setting"]["images"]:
            raise InputError(
                f"The images are not those of '{self.path}', which {_OPTIONS[self.use]} needs: give the same, or start "
                "from it on others with --from."
            )

    # What is said of it.

    def document(self, share: float | None = None) -> dict[str, Any]:
        """Say what it was, as plain values.

        Args:
            share: of the parameters, that the new network has from it, where that is not all.
        """
        taken = {} if share is None else {"taken_over": share}
        known = ("space", "architecture", "classes", "parameters", "valid_accuracy", "test_accuracy")
        return {"use": self.use, "run": self.path, **taken, **{name: self.facts[name] for name in known}}

    def beside(self, training: TrainingResult, test: TestResult, parameters: float) -> list[str]:
        """Say what the network of the same images was before and is now; nothing where the images are others."""
        if self.use == "from":
            return []
        facts = self.facts
        return [
            f"Before, in '{self.path}', {facts['parameters']:,} parameters had {facts['valid_accuracy']:.2%} of the "
            f"validation and {facts['test_accuracy']:.2%} of the test images right; now {parameters:,.0f} parameters "
            f"have {training.valid_accuracy / 100:.2%} and {test.accuracy:.2%}."
        ]


def earlier_run(
    from_run: str | os.PathLike[str] | None = None, grow: str | os.PathLike[str] | None = None,
    shrink: str | os.PathLike[str] | None = None, folder: Path | None = None, *, go_on: bool = False,
) -> EarlierRun | None:  # fmt: skip
    """Read the run that a fit starts from; None where it starts from none.

    Args:
        from_run: start from the weights of this run, on other images.
        grow: grow the network of this run, for the same images.
        shrink: shrink it.
        folder: as for `EarlierRun.read`.
        go_on: as for `EarlierRun.read`.

    Raises:
        InputError: two of the three are given, or the run cannot be read.

    Example:
        >>> earlier_run(grow="run_a", shrink="run_a")
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: A fit has --grow and --shrink, expected one of both: leave one out.
    """
    paths = {"from": from_run, "grow": grow, "shrink": shrink}
    given = {use: path for use, path in paths.items() if path is not None}
    if len(given) > 1:
        named = " and ".join(_OPTIONS[use] for use in given)
        raise InputError(f"A fit has {named}, expected one of {'both' if len(given) == 2 else 'these'}: leave one out.")
    for use, path in given.items():
        if not isinstance(path, str | os.PathLike):
            raise InputError(f"The run of {_OPTIONS[use]} is {path!r}, expected the folder of one.")
        return EarlierRun.read(path, use, folder, go_on=go_on)
    return None


def images_key(splits: Splits) -> str:
    """Hash the images of all parts, by which they are known again."""
    return " ".join(fingerprint(part) for part in splits.parts.values())
