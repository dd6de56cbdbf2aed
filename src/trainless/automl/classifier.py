"""Search, tuning, training and test of a network as a scikit-learn classifier."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from trainless.automl.earlier import earlier_run
from trainless.automl.folders import RunFolder, write_run
from trainless.automl.inference import class_probabilities
from trainless.automl.pipeline import fit as fit_network
from trainless.automl.plans import AUTO, Plan
from trainless.backbones.known import ALL
from trainless.data import ImageDataset
from trainless.data.arrays import images_of, load_arrays, resize, value_range
from trainless.data.dataset import draw
from trainless.data.splitting import part_of
from trainless.errors import DataError, InputError
from trainless.export.code import PlainCode
from trainless.export.formats import module_of
from trainless.files import write_text
from trainless.search import Limits
from trainless.search_spaces.base import SearchSpace
from trainless.training import Devices

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["ImageClassifier"]

_FILE = "classifier.json"
_SMALLEST = 4  # pixels: two halvings leave one
_KEPT = 100  # images on which written networks are compared with the one in memory
_OPTIONAL: Mapping[str, type] = {
    "max_params": Real, "max_flops": Real, "max_latency": Real, "max_memory": Real, "image_size": Integral,
    "epochs": Integral, "workers": Integral, "evaluations": Integral,
}  # fmt: skip
_NEEDED: Mapping[str, type] = {"time": Real}


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Finds, trains and tests a network for labelled images, as a scikit-learn classifier.

    `fit` splits the images that it is given in three: most are learned from, a fifth decides between networks, recipes
    and epochs, and a fifth is only tested on, so that ``fitted_.test`` is an honest figure. The network is not trained
    anew on all of them.

    Images are arrays of numbers of shape (images, height, width), (images, height, width, channels) or (images,
    channels, height, width) with 1 or 3 channels; where the last two both fit, channels come first. Flat rows are
    images of `image_shape`, or else grey ones: a row fills the smallest square that holds it, of 4 x 4 pixels at
    least, line by line, and what is left stays black. Values are scaled as `trainless.data.arrays.value_range` says
    for the images of `fit`, then kept as bytes; new images are scaled by the same two numbers and cut off beyond them.

    Args:
        max_params: most parameters; None is no limit, as for all limits.
        max_flops: most multiply-adds for one image.
        max_latency: most milliseconds for one image on this machine.
        max_memory: most MiB for the inference of one image.
        time: seconds that `fit` may take.
        space: a search space or its name; ``"auto"`` and ``"pretrained"`` as for `trainless.automl.Plan`.
        backbone: where a network may start from pretrained features, as for `trainless.automl.Plan`.
        search_score: what the search maximises, as for `trainless.Search`; None is what suits the space.
        measure: what the network shall be good at, a name of `trainless.training.MEASURES`; None is accuracy, or
            balanced accuracy where the largest class has ten times as many images as the smallest.
        image_size: rows and columns to which images are resized; None takes what images, time and limits propose.
        resize: how they are brought to a square: ``stretch``, ``pad`` or ``crop``; None lets their proportions decide.
        image_shape: channels, height and width of the images, for flat rows.
        mirror: whether a mirrored image is as good as the image; None says so of colour images.
        mirror_average: hand over a network that averages over an image and its mirror image, for twice the work.
        epochs: of the training. Given them, `time` does not count, the hyper-parameters are not tuned, and the same
            images and `random_state` give the same network on the same machine, unless latency is limited.
        evaluations: most architectures that the search scores; None is what suits the score.
        random_state: decides everything random: a whole number, a NumPy random state to draw one from, or None.
        workers: processes of the search and threads of the training; 0 is one thread of this process, None one a core.
        from_run: a folder that `save` or `trainless fit` wrote, from whose weights the training starts.
        grow: the same, whose network is to be made larger, for the same images.
        shrink: the same, whose network is to be made smaller, by tighter limits, for the same images.

    Attributes:
        classes_: the labels, sorted, shape ``(classes,)``.
        fitted_: all that came out, a `trainless.automl.Fitted`; not there after `load`.
        network_: maps float32 images with values from 0 to 1 to one number a class; plain PyTorch, in eval mode.
        input_shape_: shape of one image (or the length of a row) as given to `fit`.
        values_: the numbers that mean black and white.
        n_features_in_: the length of a row, where `fit` was given flat rows.
        feature_names_in_: names of its values, where the rows came as a data frame with such.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from trainless.search_spaces import search_space
        >>> X, y = load_digits(return_X_y=True)
        >>> small = search_space("nasbench201", channels=4, cells=1)
        >>> classifier = ImageClassifier(max_params=5000, space=small, epochs=4, evaluations=8, workers=0)
        >>> classifier.fit(X[:1500], y[:1500]).predict_proba(X[1500:]).shape
        (297, 10)
        >>> classifier.score(X[1500:], y[1500:]) > 0.2, classifier.fitted_.costs["params"] <= 5000
        (True, True)
    """

    def __init__(
        self,
        max_params: float | None = None,
        max_flops: float | None = None,
        max_latency: float | None = None,
        max_memory: float | None = None,
        time: float = 600,
        space: str | SearchSpace = AUTO,
        backbone: str = ALL,
        search_score: Any = None,
        measure: str | None = None,
        image_size: int | None = None,
        resize: str | None = None,
        image_shape: tuple[int, int, int] | None = None,
        mirror: bool | None = None,
        mirror_average: bool = False,
        epochs: int | None = None,
        evaluations: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        workers: int | None = None,
        from_run: str | None = None,
        grow: str | None = None,
        shrink: str | None = None,
    ) -> None:
        self.max_params = max_params
        self.max_flops = max_flops
        self.max_latency = max_latency
        self.max_memory = max_memory
        self.time = time
        self.space = space
        self.backbone = backbone
        self.search_score = search_score
        self.measure = measure
        self.image_size = image_size
        self.resize = resize
        self.image_shape = image_shape
        self.mirror = mirror
        self.mirror_average = mirror_average
        self.epochs = epochs
        self.evaluations = evaluations
        self.random_state = random_state
        self.workers = workers
        self.from_run = from_run
        self.grow = grow
        self.shrink = shrink

    def fit(self, X: Any, y: Any) -> Self:
        """Find and train a network.

        Args:
            X: images, see above.
            y: one label per image: whole numbers, text or truth values.

        Raises:
            InputError: images, labels or parameters cannot be used, or nothing within the limits was found; also a
                ValueError of scikit-learn, where its own checks refuse X or y.
        """
        plan = self._plan()
        for name in ("fitted_", "network_"):  # of an earlier call, whose classes may be others
            self.__dict__.pop(name, None)
        X, y = validate_data(self, X, y, allow_nd=True, ensure_min_samples=2)
        if X.ndim > 2:
            del self.n_features_in_  # scikit-learn would take the rows of an image for it
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.input_shape_, self.values_ = X.shape[1:], value_range(X)
        data = load_arrays(self._images(X), codes, name="images")
        data = replace(data, class_names=tuple(map(str, self.classes_)))
        splits = plan.load(data)
        if X.ndim == 2 and self.image_shape is None and math.isqrt(X.shape[1]) ** 2 != X.shape[1]:
            warnings.warn(
                f"Rows of {X.shape[1]} values are no square grey images, so they are filled up with black: give "
                "image_shape, such as (3, 32, 32) for rows of 3072, or images with their own axes.",
                stacklevel=2,
            )
        self.fitted_ = fit_network(splits, plan)
        self.network_, self._code = self.fitted_.network, self.fitted_.code
        self._preprocessing = self.fitted_.audit.preprocessing
        self._examples = _some(splits.test)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most probable label of each image, shape ``(images,)``.

        Args:
            X: images of the same shape as those of `fit`.

        Raises:
            DataError: they have another shape; also a ValueError of scikit-learn, where its own checks refuse X.
        """
        probabilities = self.predict_proba(X)  # says so where there is no fit yet
        labels: NDArray[Any] = self.classes_[probabilities.argmax(1)]
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Predict the class probabilities of each image, in the order of ``classes_``.

        Args:
            X: images of the same shape as those of `fit`.

        Returns:
            Shape ``(images, classes)``, in the precision that the network computes in.

        Raises:
            DataError: they have another shape; also a ValueError of scikit-learn, where its own checks refuse X.
        """
        check_is_fitted(self, "network_")
        X = validate_data(self, X, reset=False, allow_nd=True)
        if X.shape[1:] != self.input_shape_:
            raise DataError(
                f"The images have the shape {X.shape[1:]}, but those of fit had {self.input_shape_}: give images of "
                "that shape."
            )
        wanted = self._preprocessing
        images = resize(self._images(X), wanted.height, wanted.width, wanted.resize)
        return class_probabilities(self.network_, images).astype(np.float32)

    def save(self, folder: str | os.PathLike[str]) -> dict[str, Path]:
        """Write what `trainless fit` writes: network, weights, ONNX and model card, and what `load` needs.

        Args:
            folder: where to, made if it is not there.

        Returns:
            By kind, the files.

        Raises:
            InputError: the classifier was loaded: copy its folder; or the folder cannot be written.
        """
        check_is_fitted(self, "network_")
        if not hasattr(self, "fitted_"):
            raise InputError("This classifier was loaded from a folder, and how it was fitted is there: copy it.")
        written = write_run(self.fitted_, Path(folder), self._examples)
        path = Path(folder, _FILE)
        write_text(path, json.dumps(self._document(), indent=1, ensure_ascii=False) + "\n")
        return {**written.files, "classifier": path}

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a classifier that `save` wrote; it predicts as that one did.

        Parameters that are no plain values, such as a search space given as an object, are those of a new classifier.
        The folder's ``network.py`` is run: open only what you or people you trust have written.

        Raises:
            InputError: the folder is none that `save` wrote; `trainless predict` reads those of `trainless fit`.
        """
        run = RunFolder.read(Path(folder))
        try:
            document = json.loads(Path(folder, _FILE).read_text(encoding="utf-8"))
            parameters = document["parameters"]
            values: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in parameters.items()
            }
            loaded = cls(**values)
            loaded.classes_ = np.array(document["classes"], np.dtype(document["labels"]))
            loaded.input_shape_, loaded.values_ = tuple(document["input_shape"]), tuple(document["values"])
            if names := document["feature_names"]:
                loaded.feature_names_in_ = np.array(names, object)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"'{folder}' is no folder that ImageClassifier.save wrote ({getattr(error, 'strerror', None) or error})"
                ": give such a one, or read it with trainless.automl.folders.RunFolder."
            ) from error
        if len(loaded.input_shape_) == 1:
            loaded.n_features_in_ = loaded.input_shape_[0]
        loaded.network_, loaded._preprocessing = run.network(), run.preprocessing
        source = Path(folder, "network.py").read_text(encoding="utf-8")
        loaded._code = PlainCode(source, loaded.network_.state_dict())
        return loaded

    def __getstate__(self) -> dict[str, Any]:
        # The network's class is in no module that could be imported: it is made again of its code.
        return {name: value for name, value in super().__getstate__().items() if name != "network_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_code" in state:
            self.network_ = module_of(self._code)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.epochs is None or self.max_latency is not None or self.random_state is None
        return tags

    def _plan(self) -> Plan:
        self._check_parameters()
        seed = self.random_state
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(2**31 - 1)
        limits = Limits({name: getattr(self, f"max_{name}") for name in ("params", "flops", "latency", "memory")})
        return Plan(
            time=self.time if self.epochs is None else None, limits=limits, space=self.space,
            backbone=self.backbone, score=self.search_score, measure=self.measure, photographs=self.mirror,
            image_size=self.image_size, seed=int(seed), workers=self.workers, epochs=self.epochs,
            evaluations=self.evaluations, resize=self.resize, mirror_average=self.mirror_average,
            devices=Devices(precision="auto" if self.epochs is None else "32-true"),
            start=earlier_run(self.from_run, self.grow, self.shrink),
        )  # fmt: skip

    def _check_parameters(self) -> None:
        for name, kind in {**_NEEDED, **_OPTIONAL}.items():
            value = getattr(self, name)
            if (value is None and name in _OPTIONAL) or (isinstance(value, kind) and not isinstance(value, bool)):
                continue
            what = "a whole number" if kind is Integral else "a number"
            raise InputError(f"{name} is {value!r}, expected {what}{' or None' if name in _OPTIONAL else ''}.")
        shape = self.image_shape
        usable = isinstance(shape, tuple) and len(shape) == 3 and all(isinstance(length, Integral) for length in shape)
        if shape is not None and not usable:
            raise InputError(f"image_shape is {shape!r}, expected channels, height and width, such as (3, 32, 32).")

    def _images(self, X: NDArray[Any]) -> NDArray[np.uint8]:
        shape = self.image_shape
        if X.ndim == 2 and shape is None:
            side = max(_SMALLEST, math.isqrt(X.shape[1] - 1) + 1)
            X = np.pad(X, ((0, 0), (0, side**2 - X.shape[1])), constant_values=self.values_[0])
            shape = (1, side, side)
        return images_of(X, image_shape=shape, values=self.values_)

    def _document(self) -> dict[str, Any]:
        return {
            "parameters": {name: value for name, value in self.get_params(deep=False).items() if _is_plain(value)},
            "classes": self.classes_.tolist(),
            "labels": self.classes_.dtype.str,
            "input_shape": self.input_shape_,
            "values": self.values_,
            "feature_names": list(getattr(self, "feature_names_in_", [])),
        }


def _some(data: ImageDataset) -> ImageDataset:
    chosen = draw(data.labels, min(_KEPT, len(data)), np.random.default_rng(0))
    return part_of(data, np.isin(np.arange(len(data)), chosen))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | tuple)
