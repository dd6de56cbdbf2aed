"""Trainings that outlive the process: stored one by one, under all that decides them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from trainless.data import ImageDataset, fingerprint
from trainless.search_spaces.base import SearchSpace
from trainless.store import Store, key_of
from trainless.training import Recipe, TrainingResult

__all__ = ["TrainingCache"]


_LATER = ("final_rate", "affine", "colour_jitter")  # parts of a recipe that the first stores knew nothing of


class TrainingCache:
    """The trainings in a store that share all but the architecture and the epochs.

    Args:
        store: where they are; None keeps none.
        space: builds the networks.
        data: the images, before a part is set aside to validate with.
        seed: of the trainings.
        recipe: of the trainings.
        others: what else decides a training and is not as usual, as name and value.

    Attributes:
        found: what the store held, by the architecture's string and the epochs.

    Example:
        >>> import tempfile
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/scores.db") as store:
        ...     setting = (store, search_space("nasbench201"), load_data("digits"), 0, Recipe())
        ...     TrainingCache(*setting).keep("a cell", 3, TrainingResult(91.0, 3, 2, 1.0))
        ...     whole, half = TrainingCache(*setting), TrainingCache(*setting, {"images": "0.5"})
        ...     whole.found["a cell", 3].valid_accuracy, half.found
        (91.0, {})
    """

    def __init__(
        self, store: Store | None, space: SearchSpace, data: ImageDataset, seed: int, recipe: Recipe,
        others: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        # The name and the options, as they stood in the first stores.
        settings = {"space": f"{space.name} {dict(space.options)}", "data": f"{data.task} {fingerprint(data)}",
                    "seed": str(seed), "recipe": _written(recipe), **(others or {})}  # fmt: skip
        self._store, self._topic = store, f"trainings of {key_of(settings)}"
        self.found: dict[tuple[str, int], TrainingResult] = {}
        for name, value in store.notes(self._topic).items() if store else ():
            architecture, _, epochs = name.rpartition(" ")
            fields: dict[str, Any] = {
                field: tuple(content) if isinstance(content, list) else content for field, content in value.items()
            }
            self.found[architecture, int(epochs)] = TrainingResult(**fields)

    def keep(self, architecture: str, epochs: int, result: TrainingResult) -> None:
        """Store a training that has ended."""
        if self._store:
            self._store.note(self._topic, {f"{architecture} {epochs}": asdict(result)})


def _written(recipe: Recipe) -> str:
    """The recipe as it stood in the first stores; later parts where they are not as usual."""
    usual = Recipe()
    parts = {
        name: value for name, value in vars(recipe).items() if name not in _LATER or value != getattr(usual, name)
    }  # fmt: skip
    return f"Recipe({', '.join(f'{name}={value!r}' for name, value in parts.items())})"
