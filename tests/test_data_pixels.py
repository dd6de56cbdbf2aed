"""How an image becomes what a network gets: size, proportions, depth, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from trainless.data import audit, load_splits
from trainless.data.arrays import resize
from trainless.data.image_files import read_pixels
from trainless.data.pixels import crop_box, fit_size, prepare, resized_image
from trainless.data.preprocessing import Preprocessing, choose_resize
from trainless.data.sizes import ImageSize, affordable_size, propose_size
from trainless.errors import InputError

RNG = np.random.default_rng(0)


def noise(height: int, width: int, channels: int = 3) -> Image.Image:
    values = RNG.integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(values[..., 0] if channels == 1 else values)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Two classes of ten images of 20 x 60 pixels, and two square ones."""
    for number in range(24):
        path = tmp_path / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        (noise(24, 24) if number < 4 else noise(20, 60)).save(path)
    return tmp_path


class TestResize:
    @pytest.mark.parametrize(
        ("tall", "wide", "height", "width", "fitted", "box"),
        [
            (480, 640, 64, 64, (48, 64), (80, 0, 560, 480)),
            (640, 480, 64, 64, (64, 48), (0, 80, 480, 560)),
            (64, 64, 64, 64, (64, 64), (0, 0, 64, 64)),
            (1, 1000, 32, 32, (1, 32), (499, 0, 500, 1)),  # a row of pixels is left of it
            (20, 60, 32, 48, (16, 48), (15, 0, 45, 20)),
            (8, 6, 16, 16, (16, 12), (0, 1, 6, 7)),  # enlarged too
        ],
    )
    def test_sizes_by_hand(
        self, tall: int, wide: int, height: int, width: int, fitted: tuple[int, int], box: tuple[int, int, int, int]
    ) -> None:
        assert fit_size(tall, wide, height, width) == fitted
        assert crop_box(tall, wide, height, width) == box

    @pytest.mark.parametrize("size", [(40, 92), (40, 38), (33, 33), (7, 12)])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_as_pillow_does_it(self, size: tuple[int, int], channels: int) -> None:
        image = noise(*size, channels)
        grey = (128,) * channels if channels == 3 else 128
        padded = ImageOps.pad(image, (32, 32), Image.Resampling.BILINEAR, grey)
        left, top, right, bottom = crop_box(*size, 32, 32)
        cropped = image.crop((left, top, right, bottom)).resize((32, 32), Image.Resampling.BILINEAR)
        for how, expected in {
            "pad": padded,
            "crop": cropped,
            "stretch": image.resize((32, 32), Image.Resampling.BILINEAR),
        }.items():
            assert np.array_equal(resized_image(image, 32, 32, how), expected), how

    def test_rows_come_first_in_tall_images_too(self) -> None:
        image = noise(92, 40)
        rows = image.resize((32, 92), Image.Resampling.BILINEAR)
        assert np.array_equal(resized_image(image, 32, 32), rows.resize((32, 32), Image.Resampling.BILINEAR))

    @pytest.mark.parametrize("how", ["stretch", "pad", "crop"])
    def test_arrays_as_files(self, how: str) -> None:
        image = noise(20, 50)
        array = np.asarray(image).transpose(2, 0, 1)
        assert np.array_equal(resize(array[None], 16, 16, how)[0], prepare(image, 3, 16, 16, how))

    def test_the_value_of_white_in_16_bits(self) -> None:
        deep = Image.fromarray(np.array([[0, 8, 9, 2048, 4095, 65535]], np.uint16))
        # 255 v / 4095, rounded; 9 is .56 of a level and 8 is .498.
        assert prepare(deep, 1, 1, 6, deep_white=4095).ravel().tolist() == [0, 0, 1, 128, 255, 255]


class TestChoice:
    @pytest.mark.parametrize(
        ("sizes", "expected"),
        [
            ([(64, 64, 9)], "stretch"),
            ([(480, 640, 9), (640, 480, 9)], "stretch"),  # 4:3, both ways
            ([(480, 641, 9)], "pad"),
            ([(100, 300, 1), (64, 64, 9)], "stretch"),  # a tenth, not more
            ([(300, 100, 2), (64, 64, 9)], "pad"),
        ],
    )
    def test_by_proportions(self, sizes: list[tuple[int, int, int]], expected: str) -> None:
        assert choose_resize([ImageSize(*size) for size in sizes]) == expected

    def test_the_size_of_padded_images_has_their_pixels(self) -> None:
        wide, tall = ImageSize(20, 80, 5), ImageSize(160, 40, 4)
        assert propose_size([wide], resize="pad") == 40
        assert propose_size([wide, tall], resize="pad") == 40
        assert propose_size([wide, tall], resize="crop") == 16  # 20, a multiple of 8
        assert propose_size([tall], 200, resize="pad") == 80

    def test_holds_in_training_data_and_for_new_files(self, wide: Path) -> None:
        splits = load_splits(wide, image_size=32)
        assert splits.resize == audit(splits).resize == "pad"
        path = splits.files["train"][0]
        assert np.array_equal(splits.train.images[0], read_pixels(Path(path), splits.preprocessing))
        rows = dict(audit(splits).rows())
        assert rows["resized"].startswith("scaled until it fits")
        assert rows["resized"].endswith("20 of 24 images are wider or taller than 4:3: see --resize")
        for how in ("stretch", "crop"):
            asked = load_splits(wide, image_size=32, resize=how)
            assert asked.resize == how
            assert np.array_equal(asked.train.images[0], read_pixels(Path(path), Preprocessing(3, 32, 32, how)))

    def test_refuses_what_there_is_not(self, wide: Path) -> None:
        with pytest.raises(InputError, match="no resize 'squash'"):
            load_splits(wide, resize="squash")

    @pytest.mark.parametrize(
        ("images", "most", "expected"),
        [
            (100, {}, 64),
            (100, {"seconds": 1}, 32),
            (100, {"seconds": 1e6}, 128),
            (2000, {"seconds": 64, "threads": 1}, 32),  # .5 x 64 s / 32,000 images / 1 us = 1000 pixels: 31 x 31
            (2000, {"seconds": 64, "threads": 4}, 56),  # 4000 pixels: 63 x 63, a multiple of 8
            (8000, {"seconds": 64, "threads": 16}, 56),  # four times the images
            (100, {"seconds": 1e6, "flops": 2000 * 72**2}, 72),
            (100, {"memory": 2e-4 * 41**2, "latency": 1e3}, 40),
        ],
    )
    def test_size_by_time_and_limits(self, images: int, most: dict[str, float], expected: int) -> None:
        assert affordable_size(images, **most) == expected  # type: ignore[arg-type]


class TestDocument:
    def test_is_read_back(self) -> None:
        wanted = Preprocessing(3, 64, 48, "crop", 4095)
        document = wanted.document(["b", "a"])
        assert Preprocessing.of(document) == wanted
        assert document["classes"] == ["b", "a"]
        for words in ("EXIF", "white", "BILINEAR", "bytes / 255", "red, green, blue"):
            assert any(words in str(value) for value in document.values())

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ({}, r"of \[None, None, None, None\], expected whole numbers above 0"),
            (["a"], r"of \['a'\], expected whole"),
            ({"channels": 3, "height": 0, "width": 8, "deep_white": 65535, "resize": "pad"}, "3, 0, 8, 65535"),
            ({"channels": 3, "height": True, "width": 8, "deep_white": 65535, "resize": "pad"}, "True"),
            ({"channels": 3, "height": 8, "width": 8, "deep_white": 65535}, "no resize 'None'"),
        ],
    )
    def test_refuses_what_is_none(self, document: object, message: str) -> None:
        with pytest.raises(InputError, match=message):
            Preprocessing.of(document)  # type: ignore[arg-type]
