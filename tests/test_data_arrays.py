"""Arrays in memory: every layout means the same images, values become bytes, and labels keep their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from trainless.data import images_of, load_arrays, load_data, value_range
from trainless.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 6), dtype=np.uint8)
GREY = RGB[:, :1]


class TestImages:
    @pytest.mark.parametrize(
        ("X", "expected"),
        [
            (RGB, RGB),
            (RGB.transpose(0, 2, 3, 1), RGB),
            (GREY, GREY),
            (GREY[:, 0], GREY),
            (GREY.transpose(0, 2, 3, 1), GREY),
            (GREY[:, :, :, :5].reshape(4, 25), GREY[:, :, :, :5]),
            (RGB.tolist(), RGB),
            (RGB / 255, RGB),
            ((RGB / 255).astype(np.float32), RGB),
            (RGB.astype(np.int64), RGB),
            (GREY[:, 0] > 99, (GREY > 99) * 255),
        ],
    )
    def test_layouts_and_types(self, X: Any, expected: np.ndarray) -> None:
        images = images_of(X)
        assert images.dtype == np.uint8
        assert np.array_equal(images, expected)

    def test_rows_of_a_given_shape(self) -> None:
        assert np.array_equal(images_of(RGB.reshape(4, -1), image_shape=(3, 5, 6)), RGB)

    def test_digits_are_those_of_the_built_in_set(self) -> None:
        data = load_arrays(*load_digits(return_X_y=True), name="digits")
        built_in = load_data("digits")
        assert np.array_equal(data.images, built_in.images)
        assert np.array_equal(data.labels, built_in.labels)
        assert (data.task, data.mean, data.std) == (built_in.task, built_in.mean, built_in.std)

    @pytest.mark.parametrize(
        ("X", "expected"),
        [([0, 255], (0, 255)), ([0, 256], (0, 256)), ([-1, 1], (-1, 1)), ([0.2, 1.0], (0, 1)), ([-2.0, 3], (-2, 3)),
         ([True, False], (0, 1)), ([7.0, 7.0], (7, 8))],
    )  # fmt: skip
    def test_value_range(self, X: list[float], expected: tuple[float, float]) -> None:
        assert value_range(np.array(X)) == expected

    def test_new_images_keep_the_range_of_the_old(self) -> None:
        # 16 means white: 4 is a quarter, 63.75, and 99 is cut off.
        assert images_of(np.array([[-1.0, 4.0, 16.0, 99.0]]), values=(0, 16)).ravel().tolist() == [0, 64, 255, 255]

    @pytest.mark.parametrize(
        ("X", "options", "message"),
        [
            (np.zeros((2, 63)), {}, r"Rows of 63 values are no images of 1 x 7 x 7: give image_shape"),
            (np.zeros((2, 64)), {"image_shape": (3, 4, 4)}, "no images of 3 x 4 x 4"),
            (np.zeros((2, 2, 4)), {"image_shape": (1, 4, 4)}, r"shape \(2, 1, 2, 4\), but .*\(1, 4, 4\)"),
            (np.zeros((2, 4, 4, 4)), {}, r"shape \(2, 4, 4, 4\)"),
            (np.zeros(7), {}, r"shape \(7,\)"),
            (np.zeros((0, 64)), {}, "not empty"),
            (np.array([["a"]]), {}, "an array of numbers was expected"),
            (np.ones((2, 4)) * 1j, {}, "complex128"),
            (np.array([[0, np.nan, 0, 0]]), {}, r"infinite or no numbers \(NaN\)"),
            (np.array([[0, np.inf, 0, 0]]), {}, "infinite"),
            (np.zeros((2, 4)), {"values": (1, 1)}, "from 1 to 1 were asked for"),
        ],
    )
    def test_refusals(self, X: np.ndarray, options: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message):
            images_of(X, **options)


class TestLabels:
    @pytest.mark.parametrize(
        ("y", "names"),
        [
            (["b", "a", "b", "c"], ("a", "b", "c")),
            ([10, 9, 10, -1], ("-1", "9", "10")),
            ([1.0, 0.0, 1.0, 0.0], ("0", "1")),
            ([True, False, True, True], ("False", "True")),
            (np.array(["b", "a", "b", "c"], object), ("a", "b", "c")),
            (np.array([[1], [2], [1], [2]]), ("1", "2")),
        ],
    )
    def test_classes_keep_names_and_order(self, y: Any, names: tuple[str, ...]) -> None:
        data = load_arrays(GREY, y)
        assert data.class_names == names
        originals = [str(int(each) if isinstance(each, float) else each) for each in np.ravel(y).tolist()]
        assert [data.class_names[label] for label in data.labels] == originals

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            ([0, 1, 0], r"shape \(3,\), but one for each of the 4 images"),
            ([0.5, 1, 0, 1], "such as 0.5, but each was expected to name a class"),
            ([0, 1, np.nan, 1], "such as nan, but"),
            (np.array(["a", "b", None, "b"], object), "such as None, but"),
            (np.array(["a", 1, "b", "b"], object), "such as 1, but"),
            ([3, 3, 3, 3], "has images of 1 class"),
        ],
    )
    def test_refusals(self, y: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            load_arrays(GREY, y)

    def test_one_image(self) -> None:
        with pytest.raises(DataError, match="at least 2 classes"):
            load_arrays(GREY[:1], ["a"])
