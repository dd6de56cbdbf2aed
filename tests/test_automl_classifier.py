"""The scikit-learn classifier: scikit-learn's own checks, and what images add to them."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

from trainless import ImageClassifier
from trainless.automl import Plan, fit
from trainless.automl.sizes import choose_size
from trainless.data import load_splits
from trainless.data.arrays import load_arrays, resize
from trainless.errors import DataError, InputError
from trainless.search import Limits
from trainless.search_spaces import search_space
from trainless.types import Task

pytestmark = pytest.mark.xdist_group("automl_classifier")  # what all its tests share is made once

SPACE = search_space("nasbench201", channels=4, cells=1)
QUICK: dict[str, Any] = {"space": SPACE, "evaluations": 2, "workers": 0}
X, Y = load_digits(return_X_y=True)
NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


@pytest.fixture(scope="module")
def fitted() -> ImageClassifier:
    return ImageClassifier(**QUICK, epochs=3).fit(X[:900].reshape(-1, 8, 8), NAMES[Y[:900]])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Rows of .* values are no square grey images")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([ImageClassifier(**QUICK, epochs=8)])
def test_scikit_learn(estimator: ImageClassifier, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
class TestFit:
    def test_labels_and_shares(self, fitted: ImageClassifier) -> None:
        images, labels = X[900:].reshape(-1, 8, 8), NAMES[Y[900:]]
        assert fitted.classes_.tolist() == sorted(NAMES)
        shares = fitted.predict_proba(images)
        assert shares.shape == (len(images), 10)
        assert np.allclose(shares.sum(1), 1, atol=1e-6)
        guesses = fitted.predict(images)
        assert guesses.tolist() == [fitted.classes_[place] for place in shares.argmax(1)]
        assert fitted.score(images, labels) == np.mean(guesses == labels) > 0.3
        assert fitted.fitted_.test.class_names == tuple(sorted(NAMES))
        # 900 images in parts of 60, 20 and 20 %.
        assert [sum(counts) for counts in fitted.fitted_.audit.counts.values()] == [540, 180, 180]
        assert not hasattr(fitted, "n_features_in_")

    @pytest.mark.slow
    def test_the_same_again(self, fitted: ImageClassifier) -> None:
        images = X[:900].reshape(-1, 8, 8)
        again = clone(fitted).fit(images, NAMES[Y[:900]])
        assert np.array_equal(again.predict_proba(images), fitted.predict_proba(images))
        assert again.fitted_.architecture == fitted.fitted_.architecture
        assert again.fitted_.protocol["repeatable"].startswith("yes")
        assert again.fitted_.training.epochs == 3
        assert not again.fitted_.trials

    def test_it_starts_from_what_was_saved(self, tmp_path: Path) -> None:
        images, labels = X[:900].reshape(-1, 8, 8), NAMES[Y[:900]]
        space = search_space("nats_size(unit=1)")
        first = ImageClassifier(epochs=2, space=space, evaluations=2, workers=0, max_params=1500).fit(images, labels)
        first.save(tmp_path)
        options: dict[str, Any] = {"epochs": 1, "evaluations": 2, "workers": 0}
        other = ImageClassifier(from_run=str(tmp_path), **options).fit(X[900:].reshape(-1, 8, 8), Y[900:])
        assert other.fitted_.architecture == first.fitted_.architecture
        assert other.fitted_.start["classes"] == list(first.fitted_.test.class_names)
        grown = ImageClassifier(grow=str(tmp_path), max_params=6000, **options).fit(images, labels)
        assert grown.fitted_.training.valid_accuracy >= first.fitted_.training.valid_accuracy
        assert grown.fitted_.limits == Limits(parameters=6000)
        shrunk = ImageClassifier(shrink=str(tmp_path), max_params=900, **options).fit(images, labels)
        assert shrunk.fitted_.costs["params"] <= 900
        with pytest.raises(InputError, match="The images are not those of"):
            ImageClassifier(grow=str(tmp_path), **options).fit(images[1:], labels[1:])
        with pytest.raises(InputError, match="expected one of both"):
            ImageClassifier(grow=str(tmp_path), shrink=str(tmp_path)).fit(images, labels)

    def test_new_images_are_scaled_as_the_old_ones(self, fitted: ImageClassifier) -> None:
        assert fitted.values_ == (0.0, 16.0)
        half = X[900:910].reshape(-1, 8, 8) / 2  # 0 to 8: of their own range they would be as bright as before
        bytes_of_half = np.floor(half * 255 / 16 + 0.5).astype(np.uint8)[:, None]
        pixels = torch.tensor(resize(bytes_of_half, 16, 16)).float() / 255
        with torch.no_grad():
            expected = fitted.network_(pixels).softmax(1).numpy()
        assert np.allclose(fitted.predict_proba(half), expected, atol=1e-6)
        assert np.array_equal(fitted.predict_proba(half * 1e6), fitted.predict_proba(np.where(half > 0, 16, 0)))

    @pytest.mark.slow
    def test_forms_of_the_same_images(self) -> None:
        flat = X[:200].astype(np.uint8) * 15
        forms = [flat, flat.reshape(-1, 8, 8), flat.reshape(-1, 8, 8, 1), flat.reshape(-1, 1, 8, 8)]
        made = [ImageClassifier(**QUICK, epochs=1).fit(form, Y[:200]) for form in forms]
        shares = [each.predict_proba(form) for each, form in zip(made, forms, strict=True)]
        # The order of the values in memory decides in which order they are summed up.
        assert all(np.allclose(each, shares[0], atol=1e-6) for each in shares)
        assert [getattr(each, "n_features_in_", None) for each in made] == [64, None, None, None]

    def test_colour_rows_and_image_size(self) -> None:
        rows = np.random.default_rng(0).integers(0, 256, (60, 3 * 9 * 7), np.uint8)
        labels = np.arange(60) % 2 == 0
        made = ImageClassifier(**QUICK, epochs=1, image_shape=(3, 9, 7), image_size=8).fit(rows, labels)
        assert made.fitted_.audit.image_shape == (3, 8, 8)
        assert made.fitted_.recipe.mirror  # as for photographs
        assert made.predict(rows[:5]).dtype == bool

    def test_wide_images_are_padded_in_fit_and_later(self) -> None:
        wide = np.random.default_rng(0).integers(0, 256, (40, 8, 24), np.uint8)
        made = ImageClassifier(**QUICK, epochs=1, image_size=16).fit(wide, np.arange(40) % 2)
        assert made.fitted_.audit.resize == "pad"
        pixels = torch.tensor(resize(wide[:, None], 16, 16, "pad")).float() / 255
        assert (pixels[:, 0, 0] == 128 / 255).all()
        with torch.no_grad():
            expected = made.network_(pixels).softmax(1).numpy()
        assert np.allclose(made.predict_proba(wide), expected, atol=1e-6)
        with pytest.raises(InputError, match="no resize 'zoom'"):
            ImageClassifier(**QUICK, epochs=1, resize="zoom").fit(wide, np.arange(40) % 2)

    def test_rows_that_are_no_square(self) -> None:
        rows = np.random.default_rng(0).normal(size=(40, 5))
        made = ImageClassifier(**QUICK, epochs=1)
        with pytest.warns(UserWarning, match="Rows of 5 values are no square grey images"):
            made.fit(rows, np.arange(40) % 2)
        low, high = rows.min(), rows.max()
        images = made._images(rows)
        assert images.shape == (40, 1, 4, 4)
        assert images.reshape(40, 16)[:, :5].tolist() == np.floor((rows - low) / (high - low) * 255 + 0.5).tolist()
        assert not images.reshape(40, 16)[:, 5:].any()

    @pytest.mark.slow
    def test_a_time_and_limits(self) -> None:
        made = ImageClassifier(**{**QUICK, "time": 10, "max_params": 5000}, random_state=np.random.RandomState(3))
        made.fit(X[:300], Y[:300])
        assert made.fitted_.costs["params"] <= 5000
        assert made.fitted_.protocol["time"] == "10 s"
        assert made.fitted_.protocol["limits"] == "params at most 5,000"
        assert made.fitted_.protocol["seed"] == str(np.random.RandomState(3).randint(2**31 - 1))
        assert made.__sklearn_tags__().non_deterministic


class TestRefusals:
    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"time": "10m"}, "time is '10m', expected a number."),
            ({"time": None}, "time is None, expected a number."),
            ({"time": -1}, "The time is -1 s, expected at least 10 s"),
            ({"time": float("inf")}, "The time is infinite"),
            ({"max_params": "0.5M"}, "max_params is '0.5M', expected a number or None."),
            ({"max_params": 0}, "The limit on params is 0, expected a number above 0."),
            ({"epochs": 1.5}, "epochs is 1.5, expected a whole number or None."),
            ({"epochs": 0}, "epochs is 0, expected a finite number above 0."),
            ({"evaluations": 0}, "The budget is 0, expected more than 0"),
            ({"workers": True}, "workers is True, expected a whole number or None."),
            ({"measure": "loss"}, "loss"),
            ({"space": "enas"}, "There is no search space 'enas'"),
            ({"search_score": "nwott", "epochs": 1}, "'nwott'"),
            ({"image_shape": (8, 8)}, r"image_shape is \(8, 8\), expected channels, height and width"),
            ({"image_shape": (3, 8, 8)}, "Rows of 64 values are no images of 3 x 8 x 8"),
            ({"image_size": 3}, "Image size 3 is too small"),
        ],
    )
    def test_parameters(self, parameters: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            ImageClassifier(**{"workers": 0, **parameters}).fit(X[:100], Y[:100])

    def test_images_of_another_shape(self, fitted: ImageClassifier) -> None:
        for images in (X[:5], X[:5].reshape(-1, 8, 8, 1), X[:5].reshape(-1, 4, 16)):
            with pytest.raises(DataError, match=r"but those of fit had \(8, 8\): give images of that shape"):
                fitted.predict(images)

    def test_images(self) -> None:
        made = ImageClassifier(**QUICK, epochs=1)
        with pytest.raises(DataError, match=r"The images have the shape \(50, 2, 8, 8\)"):
            made.fit(np.zeros((50, 2, 8, 8)), np.arange(50) % 2)
        with pytest.raises(DataError, match="Half of the images are at most 3 pixel"):
            made.fit(np.random.default_rng(0).random((50, 3, 9)), np.arange(50) % 2)
        with pytest.raises(ValueError, match="Unknown label type: continuous"):
            made.fit(X[:100], np.linspace(0, 1, 100))
        with pytest.raises(ValueError, match="NaN"):
            made.fit(np.full((50, 8, 8), np.nan), np.arange(50) % 2)


@pytest.mark.slow
class TestKeeping:
    def test_pickled_and_copied(self, fitted: ImageClassifier) -> None:
        images = X[900:950].reshape(-1, 8, 8)
        for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
            assert np.array_equal(other.predict_proba(images), fitted.predict_proba(images))
            pixels = torch.rand(2, 1, 8, 8)
            assert torch.equal(other.fitted_.network(pixels), fitted.fitted_.network(pixels))
            assert other.fitted_.test.accuracy == fitted.fitted_.test.accuracy

    def test_saved_and_loaded(self, fitted: ImageClassifier, tmp_path: Path) -> None:
        files = fitted.save(tmp_path / "run")
        assert {"code", "weights", "onnx", "card", "facts", "classifier"} <= set(files)
        assert all(path.is_file() for path in files.values())
        loaded = ImageClassifier.load(tmp_path / "run")
        images = X[900:950].reshape(-1, 8, 8)
        for other in (loaded, pickle.loads(pickle.dumps(loaded))):
            assert np.array_equal(other.predict_proba(images), fitted.predict_proba(images))
            assert other.predict(images).tolist() == fitted.predict(images).tolist()
        assert loaded.classes_.dtype == fitted.classes_.dtype
        # A space given as an object is not kept.
        assert loaded.get_params() == {**fitted.get_params(), "space": "auto"}
        with pytest.raises(InputError, match="was loaded from a folder"):
            loaded.save(tmp_path / "again")

    def test_rows_with_names_are_loaded_with_them(self, tmp_path: Path) -> None:
        rows = load_digits(as_frame=True).data[:100]
        names = NAMES[Y[:100]].astype(object)
        ImageClassifier(**QUICK, epochs=1, image_shape=(1, 8, 8)).fit(rows, names).save(tmp_path)
        loaded = ImageClassifier.load(str(tmp_path))
        assert loaded.n_features_in_ == 64
        assert loaded.feature_names_in_.tolist() == rows.columns.tolist()
        assert loaded.image_shape == (1, 8, 8)
        assert loaded.predict(rows).dtype == object
        with pytest.raises(ValueError, match="feature names"):
            loaded.predict(rows[rows.columns[::-1]])

    def test_what_is_no_classifier(self, fitted: ImageClassifier, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="is no folder that `trainless fit` wrote"):
            ImageClassifier.load(tmp_path)
        fitted.save(tmp_path)
        path = tmp_path / "classifier.json"
        whole = json.loads(path.read_text())
        for text in (
            "{",
            "[]",
            "{}",
            json.dumps({**whole, "parameters": {"no": 1}}),
            json.dumps({**whole, "labels": 3}),
        ):
            path.write_text(text)
            with pytest.raises(InputError, match=r"is no folder that ImageClassifier\.save wrote"):
                ImageClassifier.load(tmp_path)


class TestPlan:
    def test_either_time_or_epochs(self) -> None:
        for given in ({}, {"time": 20, "epochs": 5}):
            with pytest.raises(InputError, match="expected one of both: leave one out"):
                Plan(**given)

    @pytest.mark.slow
    def test_few_images_and_a_latency(self) -> None:
        images = np.random.default_rng(0).integers(0, 255, (12, 4, 4), np.uint8)
        splits = load_splits(load_arrays(images, np.arange(12) % 2))
        plan = Plan(epochs=2, space=SPACE, limits=Limits(latency=1e3), evaluations=2, workers=0)
        fitted = fit(splits, plan)  # there are fewer images to train on than architectures are scored on elsewhere
        assert fitted.training.epochs == 2
        assert len(fitted.search.evaluations) == 2
        assert fitted.protocol["repeatable"].startswith("no: latency is measured")

    def test_epochs_leave_the_space_as_large_as_it_is(self) -> None:
        task = Task("toy", 10, height=16, width=16)
        assert choose_size(SPACE, task, Limits(), 10**9, math.inf, epochs=100).space is SPACE
