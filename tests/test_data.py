"""Tests of trainless.data: every form of images, every refusal, and the batches drawn from them."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from trainless.data import Batch, ImageDataset, load_data
from trainless.data.dataset import channel_statistics, draw
from trainless.data.sizes import check_memory
from trainless.errors import DataError, InputError
from trainless.types import Task

CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def make_dataset(numbers: list[int], classes: int | None = None, **changes: Any) -> ImageDataset:
    """A set of 1 x 1 images whose pixel is the number of the image."""
    classes = classes or max(numbers) + 1
    values: dict[str, Any] = {
        "task": Task("toy", classes, channels=1, height=1, width=1),
        "images": np.arange(len(numbers), dtype=np.uint8).reshape(-1, 1, 1, 1),
        "labels": np.array(numbers, np.int64),
        "class_names": tuple(f"class {number}" for number in range(classes)),
        "mean": (0.0,),
        "std": (1 / 255,),
    }
    return ImageDataset(**values | changes)


def drawn(batch: Batch) -> list[int]:
    """The numbers of the images of a batch of `make_dataset`."""
    return batch.images.flatten().round().to(torch.int64).tolist()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray | Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


class TestImageDataset:
    def test_batch_is_normalised_and_contiguous(self) -> None:
        images = noise(6, 5, 4, 3).transpose(0, 3, 1, 2)
        task, mean, std = Task("toy", 2, channels=3, height=5, width=4), (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
        data = ImageDataset(task, images, np.array([0, 1] * 3), ("a", "b"), mean, std)
        batch = data.batch(size=6, seed=3)
        assert batch.images.dtype == torch.float32
        assert batch.labels.dtype == torch.int64
        assert batch.images.is_contiguous()
        assert batch.task is task
        expected = [
            [
                [[(int(v) / 255 - m) / s for v in row] for row in plane]
                for plane, m, s in zip(image, mean, std, strict=True)
            ]
            for image in images
        ]
        ours = sorted(batch.images.double().flatten(1).tolist())
        theirs = sorted(torch.tensor(expected, dtype=torch.float64).flatten(1).tolist())
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)

    def test_labels_stay_with_their_images(self) -> None:
        labels = [0, 1, 2, 1, 0, 2, 2, 1]
        batch = make_dataset(labels).batch(size=7, seed=1)
        assert batch.labels.tolist() == [labels[number] for number in drawn(batch)]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"images": np.zeros((4, 1, 1, 1), np.float32)}, "float32"),
            ({"images": np.zeros((4, 1, 2, 1), np.uint8)}, r"\(4, 1, 2, 1\)"),
            ({"labels": np.array([0, 1, 0])}, "one label per image"),
            ({"labels": np.array([0, 1, 0, 1], np.int32)}, "int32"),
            ({"labels": np.array([0, 1, 0, 2])}, "from 0 to 2"),
            ({"labels": np.array([0, 1, 0, -1])}, "from -1 to 1"),
            ({"labels": np.array([1, 1, 1, 1])}, "at least 2 classes"),
            ({"class_names": ("a",)}, "1 class names"),
            ({"mean": (0.0, 0.0)}, "each of its 1 channels"),
            ({"std": (0.0,)}, "above 0"),
            ({"mean": (float("nan"),)}, "finite"),
        ],
    )
    def test_refuses_parts_that_do_not_fit(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message):
            make_dataset([0, 1, 0, 1], **changes)

    def test_refuses_an_empty_set(self) -> None:
        with pytest.raises(DataError, match="0 class"):
            make_dataset([], classes=2)


class TestDrawing:
    @given(
        labels=st.lists(st.integers(0, 6), min_size=2, max_size=60).filter(lambda labels: len(set(labels)) > 1),
        seed=st.integers(0, 2**40),
        data=st.data(),
    )
    def test_balance(self, labels: list[int], seed: int, data: st.DataObject) -> None:
        size = data.draw(st.integers(2, len(labels)))
        batch = make_dataset(labels).batch(size, seed)
        assert len(batch) == len(set(drawn(batch))) == size
        taken, there = (np.bincount(values, minlength=7) for values in (batch.labels.numpy(), labels))
        assert (taken <= there).all()
        fullest = taken.max()
        assert all(count >= fullest - 1 or count == available for count, available in zip(taken, there, strict=True))

    @given(seed=st.integers(0, 2**40), size=st.integers(2, 29), balanced=st.booleans())
    def test_is_deterministic_and_nested(self, seed: int, size: int, balanced: bool) -> None:
        data = make_dataset([0] * 20 + [1] * 7 + [2] * 3)
        first = data.batch(size, seed, balanced)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        second = data.batch(size, seed, balanced)
        assert torch.equal(first.images, second.images)
        assert first.fingerprint == second.fingerprint
        assert drawn(data.batch(30, seed, balanced))[:size] == drawn(first)

    def test_leaves_global_random_state_alone(self) -> None:
        before, torch_before = np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]
        make_dataset([0, 1, 0, 1]).batch(2)
        assert np.random.get_state()[1].tolist() == before  # type: ignore[index]
        assert torch.equal(torch.get_rng_state(), torch_before)

    def test_more_classes_than_images(self) -> None:
        data = make_dataset(list(range(50)) * 2)
        batches = [data.batch(10, seed) for seed in range(20)]
        assert all(len(set(batch.labels.tolist())) == 10 for batch in batches)
        assert len({label for batch in batches for label in batch.labels.tolist()}) > 40

    def test_every_image_is_as_likely_within_its_class(self) -> None:
        data = make_dataset([0] * 4 + [1] * 4)
        counts = np.bincount([number for seed in range(800) for number in drawn(data.batch(2, seed))], minlength=8)
        # Each of 8 images is expected 200 times; 150 to 250 is four binomial deviations of 12.2.
        assert counts.sum() == 1600
        assert counts.min() > 150
        assert counts.max() < 250

    def test_the_odd_image_goes_to_any_class(self) -> None:
        data = make_dataset([0, 1, 2] * 5)
        extra = {int(data.batch(4, seed).labels.bincount().argmax()) for seed in range(30)}
        assert extra == {0, 1, 2}

    def test_unbalanced_follows_the_frequencies(self) -> None:
        data = make_dataset([0] * 180 + [1] * 20)
        share = np.mean([data.batch(50, seed, balanced=False).labels.numpy().mean() for seed in range(100)])
        # 5,000 draws of probability 0.1: four deviations are 0.017.
        assert share == pytest.approx(0.1, abs=0.017)

    def test_absent_classes_are_skipped(self) -> None:
        labels = np.array([5, 2, 5, 2, 5])
        assert sorted(labels[draw(labels, 4, np.random.default_rng(0))].tolist()) == [2, 2, 5, 5]

    def test_refuses_impossible_sizes(self) -> None:
        data = make_dataset([0, 1, 0])
        with pytest.raises(DataError, match=r"batch of 4 .* has 3: give a --batch-size of at most"):
            data.batch(4)
        for size in (1, 0, -5):
            with pytest.raises(InputError, match="at least 2"):
                data.batch(size)


class TestFingerprint:
    def test_has_16_hexadecimal_digits(self) -> None:
        fingerprint = make_dataset([0, 1]).batch(2).fingerprint
        assert len(fingerprint) == 16
        assert int(fingerprint, 16) >= 0

    def test_changes_with_every_number(self) -> None:
        task, images, labels = Task("toy", 2), torch.rand(2, 3, 4, 4), torch.tensor([0, 1])
        nudged = images.clone()
        nudged[1, 2, 3, 3] = torch.nextafter(nudged[1, 2, 3, 3], torch.tensor(2.0))
        variants = [(images, labels), (nudged, labels), (images.reshape(2, 3, 2, 8), labels), (images, labels.flip(0))]
        assert len({Batch(*variant, task).fingerprint for variant in variants}) == 4

    def test_ignores_memory_format_and_keeps_a_given_one(self) -> None:
        task, images, labels = Task("toy", 2), torch.rand(2, 3, 4, 4), torch.tensor([0, 1])
        plain = Batch(images, labels, task).fingerprint
        assert Batch(images.to(memory_format=torch.channels_last), labels, task).fingerprint == plain
        assert Batch(images, labels, task, "given").fingerprint == "given"


class TestNormalisation:
    def test_agrees_with_numpy(self) -> None:
        images = noise(7, 3, 5, 6) // np.array([1, 2, 3], np.uint8).reshape(3, 1, 1)
        values = images.astype(np.float64) / 255
        mean, std = channel_statistics(images)
        np.testing.assert_allclose(mean, values.mean((0, 2, 3)), rtol=1e-14)
        np.testing.assert_allclose(std, values.std((0, 2, 3)), rtol=1e-13)

    def test_constant_channel_has_deviation_1(self) -> None:
        mean, std = channel_statistics(np.full((3, 2, 2, 2), 51, np.uint8))
        assert mean == (0.2, 0.2)
        assert std == (1.0, 1.0)

    def test_many_images_are_counted_in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("trainless.data.dataset._HISTOGRAM_VALUES", 50)
        images = noise(11, 1, 5, 4)
        assert channel_statistics(images).mean[0] == pytest.approx(images.mean(dtype=np.float64) / 255, rel=1e-14)


class TestDigits:
    def test_values(self) -> None:
        from sklearn.datasets import load_digits

        data, reference = load_data("digits"), load_digits()
        assert data.task == Task("digits", classes=10, channels=1, height=8, width=8)
        assert len(data) == 1797
        assert data.class_names == tuple("0123456789")
        assert np.array_equal(data.labels, reference.target)
        # 255 / 16 v, halves up: by hand.
        bytes_of_ink = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
        assert np.array_equal(data.images[:, 0], np.array(bytes_of_ink)[reference.images.astype(int)])

    def test_whole_set_has_mean_0_and_deviation_1(self) -> None:
        images = load_data("digits").batch(1797).images.double()
        assert images.mean().item() == pytest.approx(0, abs=1e-6)
        assert images.std(correction=0).item() == pytest.approx(1, abs=1e-6)

    def test_resized_and_renamed(self) -> None:
        data = load_data("digits", image_size=12, name="figures")
        assert data.task == Task("figures", classes=10, channels=1, height=12, width=12)
        assert data.mean == pytest.approx([data.images.mean() / 255])
        original = Image.fromarray(load_data("digits").images[5, 0])
        assert np.array_equal(data.images[5, 0], original.resize((12, 12), Image.Resampling.BILINEAR))


class TestImageDatasetAsSource:
    def test_is_used_as_it_is(self) -> None:
        data = make_dataset([0, 1])
        assert load_data(data) is data
        assert load_data(data, image_size=1, name="toy") is data

    def test_resizes_and_renames_but_keeps_the_normalisation(self) -> None:
        data = load_data(make_dataset([0, 1]), image_size=3, name="large")
        assert data.task == Task("large", classes=2, channels=1, height=3, width=3)
        assert data.images.tolist() == [[[[0] * 3] * 3], [[[1] * 3] * 3]]
        assert (data.mean, data.std) == ((0.0,), (1 / 255,))


class TestImageFolder:
    def test_classes_nested_and_hidden_files(self, tmp_path: Path) -> None:
        pictures = {"dog/1.PNG": 10, "dog/deep/er/0.bmp": 20, "cat/b.tiff": 30, "cat/a.gif": 40}
        for name, grey in pictures.items():
            save(tmp_path / "pets" / name, np.full((4, 5), grey, np.uint8))
        for name in ("dog/.hidden.png", "cat/.cache/x.png", ".git/x.png"):
            save(tmp_path / "pets" / name, np.zeros((4, 5), np.uint8))
        for name in ("dog/notes.txt", "loose.png"):
            (tmp_path / "pets" / name).write_text("not an image")
        with pytest.warns(UserWarning, match="Left out of 'pets'") as said:
            data = load_data(tmp_path / "pets")
        assert len(said) == 1
        for name in (".git", "cat/.cache", "dog/.hidden.png", "loose.png"):
            assert name in str(said[0].message)
        assert data.task == Task("pets", classes=2, channels=1, height=4, width=5)
        assert data.class_names == ("cat", "dog")
        assert data.labels.tolist() == [0, 0, 1, 1]
        assert data.images[:, 0, 0, 0].tolist() == [40, 30, 10, 20]

    @pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "jp2"])
    def test_lossless_formats_keep_every_pixel(self, tmp_path: Path, suffix: str) -> None:
        pixels = noise(2, 6, 7, 3)
        options = {"lossless": True} if suffix == "webp" else {}
        for name, image in zip("ab", pixels, strict=True):
            save(tmp_path / name / f"1.{suffix}", image, **options)
        assert np.array_equal(load_data(tmp_path).images, pixels.transpose(0, 3, 1, 2))

    @pytest.mark.parametrize(
        ("suffix", "form"), [("jpg", "JPEG"), ("JPEG", "JPEG"), ("jpeg", "MPO"), ("jfif", "JPEG"), ("avif", "AVIF")]
    )
    def test_jpeg(self, tmp_path: Path, suffix: str, form: str) -> None:
        for name, colour in ("a", (200, 100, 50)), ("b", (0, 0, 0)):
            save(tmp_path / name / f"1.{suffix}", Image.new("RGB", (16, 16), colour), format=form)
        data = load_data(tmp_path)
        assert data.images[0].reshape(3, -1).mean(1) == pytest.approx([200, 100, 50], abs=2)
        assert data.images[1].max() == 0

    def test_grey_and_colour_make_colour(self, tmp_path: Path) -> None:
        save(tmp_path / "a/1.png", np.full((2, 2), 9, np.uint8))
        save(tmp_path / "b/1.png", np.full((2, 2, 3), (1, 2, 3), np.uint8))
        assert load_data(tmp_path).images[:, :, 0, 0].tolist() == [[9, 9, 9], [1, 2, 3]]

    def test_modes(self, tmp_path: Path) -> None:
        red = (255, 0, 0)
        palette = Image.new("RGB", (2, 2), red).quantize(2)
        palette.info["transparency"] = 0
        pictures = {
            "palette.png": (Image.new("RGB", (2, 2), red).quantize(2), red),
            "palette.gif": (Image.new("RGB", (2, 2), red).quantize(2), red),
            "opaque.png": (Image.new("RGBA", (2, 2), (*red, 255)), red),
            "clear.png": (Image.new("RGBA", (2, 2), (*red, 0)), (255, 255, 255)),
            "half.png": (Image.new("RGBA", (2, 2), (0, 0, 0, 102)), (153, 153, 153)),
            "grey-alpha.png": (Image.new("LA", (2, 2), (0, 0)), (255, 255, 255)),
            "ink.tif": (Image.new("CMYK", (2, 2), (0, 255, 255, 0)), red),
            "bit.png": (Image.new("1", (2, 2), 1), (255, 255, 255)),
        }
        for name, (image, _) in pictures.items():
            save(tmp_path / "a" / name, image)
        save(tmp_path / "b/1.png", Image.new("RGB", (2, 2)))
        found = load_data(tmp_path).images[:-1, :, 0, 0].tolist()
        assert found == [list(pictures[name][1]) for name in sorted(pictures)]

    @pytest.mark.parametrize("suffix", ["gif", "png", "bmp"])
    def test_grey_palettes_make_one_channel(self, tmp_path: Path, suffix: str) -> None:
        picture = Image.new("P", (2, 2), 1)
        picture.putpalette([200, 200, 200, 90, 90, 90])
        for name in "ab":
            save(tmp_path / name / f"1.{suffix}", picture)
        assert load_data(tmp_path).images.tolist() == [[[[90, 90], [90, 90]]]] * 2

    def test_16_bits_are_scaled(self, tmp_path: Path) -> None:
        deep = np.array([[0, 128, 129, 257], [32896, 65406, 65407, 65535]], np.uint16)
        save(tmp_path / "a/1.png", deep)
        save(tmp_path / "a/2.tif", deep)
        save(tmp_path / "b/1.png", np.zeros((2, 4), np.uint8))
        images = load_data(tmp_path).images
        assert images.shape == (3, 1, 2, 4)
        # value / 257, rounded: by hand.
        assert images[0, 0].tolist() == images[1, 0].tolist() == [[0, 0, 1, 1], [128, 254, 255, 255]]

    def test_floating_point_is_refused(self, tmp_path: Path) -> None:
        save(tmp_path / "a/1.tif", np.full((2, 2), 0.5, np.float32))
        save(tmp_path / "b/1.png", np.zeros((2, 2), np.uint8))
        with pytest.raises(DataError, match=r"1\.tif.* neither 8 nor 16 bits"):
            load_data(tmp_path)

    def test_most_common_size_wins(self, tmp_path: Path) -> None:
        for number, (height, width) in enumerate([(4, 6), (9, 9), (4, 6)]):
            save(tmp_path / f"class{number % 2}" / f"{number}.png", noise(height, width))
        data = load_data(tmp_path)
        assert data.task.input_shape == (1, 4, 6)
        expected = Image.fromarray(noise(9, 9)).resize((6, 4), Image.Resampling.BILINEAR)
        assert np.array_equal(data.images[2, 0], expected)

    def test_of_equally_common_sizes_the_smallest_wins(self, tmp_path: Path) -> None:
        for name, height in ("a", 9), ("b", 4):
            save(tmp_path / name / "1.png", noise(height, 6))
        assert load_data(tmp_path).task.input_shape == (1, 4, 6)

    def test_image_size(self, tmp_path: Path) -> None:
        for name, height in ("a", 9), ("b", 4):
            save(tmp_path / name / "1.png", noise(height, 6, 3))
        data = load_data(str(tmp_path), image_size=5, name="small")
        assert data.task == Task("small", classes=2, channels=3, height=5, width=5)
        rows_first = Image.fromarray(noise(9, 6, 3)).resize((5, 9), Image.Resampling.BILINEAR)
        expected = rows_first.resize((5, 5), Image.Resampling.BILINEAR)
        assert np.array_equal(data.images[0].transpose(1, 2, 0), expected)

    @pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "avif"])
    def test_orientation_is_applied(self, tmp_path: Path, suffix: str) -> None:
        pixels = np.zeros((16, 32), np.uint8)
        pixels[:, 16:] = 255  # 6: to be turned clockwise by a quarter, which puts the right half at the bottom
        exif = Image.Exif()
        exif[0x0112] = 6
        for name in "ab":
            save(tmp_path / name / f"1.{suffix}", Image.fromarray(pixels).convert("RGB"), exif=exif.tobytes())
        data = load_data(tmp_path)
        assert data.task.input_shape == (3, 32, 16)
        assert data.images[:, :, :14].max() < 20
        assert data.images[:, :, 18:].min() > 235

    @pytest.mark.parametrize(
        "splits", [("train",), ("train", "val"), ("train", "valid", "test"), ("train", "validation")]
    )
    def test_train_of_split_folders(self, tmp_path: Path, splits: tuple[str, ...]) -> None:
        for number, split in enumerate(splits):
            for name in ("cat", "dog"):
                save(tmp_path / "pets" / split / name / "1.png", np.full((2, 2), number, np.uint8))
        data = load_data(tmp_path / "pets")
        assert data.task.name == "pets"
        assert data.class_names == ("cat", "dog")
        assert data.images.tolist() == [[[[0, 0], [0, 0]]]] * 2

    def test_a_class_may_be_called_like_a_part(self, tmp_path: Path) -> None:
        for name in ("train", "bus"):
            save(tmp_path / name / "1.png", np.zeros((2, 2), np.uint8))
        assert load_data(tmp_path).class_names == ("bus", "train")

    @pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp", "avif", "jp2"])
    @pytest.mark.parametrize("kept", [0.0, 0.6])
    def test_damaged_file_is_named(self, tmp_path: Path, suffix: str, kept: float) -> None:
        save(tmp_path / "a/1.png", noise(40, 40))
        damaged = save(tmp_path / "b" / f"broken.{suffix}", noise(40, 40))
        content = damaged.read_bytes()
        damaged.write_bytes(content[: int(kept * len(content))])
        with pytest.raises(DataError, match=rf"broken\.{suffix}' is damaged or no image"):
            load_data(tmp_path)

    def test_other_formats_under_an_image_name_are_refused(self, tmp_path: Path) -> None:
        save(tmp_path / "a/1.png", noise(4, 4))
        save(tmp_path / "b/1.png", Image.new("RGB", (4, 4)), format="PPM")
        with pytest.raises(DataError, match="no image"):
            load_data(tmp_path)

    def test_images_without_class_folders(self, tmp_path: Path) -> None:
        for number in range(3):
            save(tmp_path / "pets" / f"{number}.png", noise(4, 4))
        with pytest.raises(DataError, match=r"0 class folder.* 3 loose image.* such as pets/cat/1\.png"):
            load_data(tmp_path / "pets")

    def test_one_class_is_not_enough(self, tmp_path: Path) -> None:
        save(tmp_path / "only/1.png", noise(4, 4))
        with pytest.raises(DataError, match="at least 2 classes"):
            load_data(tmp_path)

    def test_class_folder_without_images(self, tmp_path: Path) -> None:
        save(tmp_path / "a/1.png", noise(4, 4))
        (tmp_path / "b").mkdir()
        with pytest.raises(DataError, match=r"1 class folder.*left out: 1 class folder\(s\) without an image .*: b\)"):
            load_data(tmp_path)


def write_records(path: Path, labels: list[int], *, coarse: bool = False, seed: int = 0) -> np.ndarray:
    """Write a CIFAR binary file, record by record as its publishers describe it; returns the images."""
    images = noise(len(labels), 3, 32, 32, seed=seed)
    records = [
        bytes([0, label] if coarse else [label]) + image.tobytes() for label, image in zip(labels, images, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(records))
    return images


class TestCifarBinary:
    def test_folder_reads_the_training_batches(self, tmp_path: Path) -> None:
        images = [write_records(tmp_path / f"data_batch_{n}.bin", [n, 9], seed=n) for n in (1, 2)]
        write_records(tmp_path / "test_batch.bin", [0, 0])
        (tmp_path / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES) + "\n\n")
        data = load_data(tmp_path)
        assert data.task == Task("cifar10", classes=10)
        assert data.labels.tolist() == [1, 9, 2, 9]
        assert np.array_equal(data.images, np.concatenate(images))
        assert data.class_names == tuple(CIFAR10_NAMES)
        assert (data.mean, data.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))

    def test_single_file(self, tmp_path: Path) -> None:
        images = write_records(tmp_path / "test_batch.bin", [3, 4, 3])
        data = load_data(tmp_path / "test_batch.bin", name="mine")
        assert data.task == Task("mine", classes=10)
        assert data.class_names == tuple("0123456789")
        assert np.array_equal(data.images, images)

    def test_any_other_bin_file_is_cifar10(self, tmp_path: Path) -> None:
        write_records(tmp_path / "mine.bin", [3, 4])
        assert load_data(tmp_path / "mine.bin").task.name == "cifar10"

    @pytest.mark.parametrize("whole_folder", [True, False])
    def test_cifar100_has_fine_labels_and_its_own_statistics(self, tmp_path: Path, whole_folder: bool) -> None:
        images = write_records(tmp_path / "train.bin", [99, 0, 50], coarse=True)
        write_records(tmp_path / "test.bin", [1, 2], coarse=True)
        (tmp_path / "fine_label_names.txt").write_text("\r\n".join(f"kind {n}" for n in range(100)))
        data = load_data(tmp_path if whole_folder else tmp_path / "train.bin")
        assert data.task == Task("cifar100", classes=100)
        assert data.labels.tolist() == [99, 0, 50]
        assert data.class_names[99] == "kind 99"
        assert np.array_equal(data.images, images)
        np.testing.assert_allclose(data.mean, (images / 255).mean((0, 2, 3)))
        np.testing.assert_allclose(data.std, (images / 255).std((0, 2, 3)))

    @pytest.mark.parametrize("size", [0, 1, 3072, 3074, 6145])
    def test_wrong_size(self, tmp_path: Path, size: int) -> None:
        (tmp_path / "data_batch_1.bin").write_bytes(bytes(size))
        with pytest.raises(DataError, match=rf"data_batch_1\.bin' has {size} bytes.* 3073"):
            load_data(tmp_path)

    def test_wrong_label(self, tmp_path: Path) -> None:
        write_records(tmp_path / "data_batch_1.bin", [0, 10])
        with pytest.raises(DataError, match="from 0 to 10, but cifar10 has classes 0 to 9"):
            load_data(tmp_path)
        write_records(tmp_path / "train.bin", [0, 100], coarse=True)
        with pytest.raises(DataError, match="from 0 to 100, but cifar100"):
            load_data(tmp_path / "train.bin")

    def test_wrong_number_of_names(self, tmp_path: Path) -> None:
        write_records(tmp_path / "data_batch_1.bin", [0, 1])
        (tmp_path / "batches.meta.txt").write_text("cat\ndog\n")
        with pytest.raises(DataError, match=r"batches\.meta\.txt' has 2 class names instead of 10"):
            load_data(tmp_path)

    @pytest.mark.parametrize("names", [7, ["cat"], None])
    def test_wrong_pickled_names(self, tmp_path: Path, names: Any) -> None:
        write_records(tmp_path / "data_batch_1.bin", [0, 1])
        (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
        with pytest.raises(DataError, match=r"batches\.meta' has . class names instead of 10"):
            load_data(tmp_path)

    def test_only_test_batches(self, tmp_path: Path) -> None:
        write_records(tmp_path / "test_batch.bin", [0, 1])
        with pytest.raises(DataError, match="no training batches"):
            load_data(tmp_path)

    def test_one_class(self, tmp_path: Path) -> None:
        write_records(tmp_path / "data_batch_1.bin", [4, 4])
        with pytest.raises(DataError, match="at least 2 classes"):
            load_data(tmp_path)

    @pytest.mark.data
    def test_real_files(self, real_data: Path) -> None:
        data = load_data(real_data / "cifar-10-batches-bin")
        assert data.task == Task("cifar10", classes=10)
        assert data.class_names == tuple(CIFAR10_NAMES)
        assert np.bincount(data.labels).tolist() == [1000] * 10
        # The published statistics of CIFAR-10, which these images are a fifth of; 0.2470 is the deviation over pixels.
        mean, std = channel_statistics(data.images)
        np.testing.assert_allclose(mean, (0.4914, 0.4822, 0.4465), atol=0.005)
        np.testing.assert_allclose(std, (0.2470, 0.2435, 0.2616), atol=0.005)
        assert data.batch(64).labels.bincount().tolist().count(6) == 6
        test = load_data(real_data / "cifar-10-batches-bin" / "test_batch.bin")
        assert np.bincount(test.labels).tolist() == [200] * 10


class Python2Array:
    """Pickles as Python 2 did an array of bytes: the published files' globals, and the buffer as text."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def opcodes(self) -> bytes:
        count, width = self.array.shape
        buffer = self.array.tobytes()
        dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        return (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01("
            + b"".join(b"J" + struct.pack("<i", number) for number in (count, width))
            + b"t"
            + dtype
            + b"\x89T"
            + struct.pack("<i", len(buffer))
            + buffer
            + b"tb"
        )


def python2_batch(images: np.ndarray, labels: list[int]) -> bytes:
    """A batch as in cifar-10-python.tar.gz: protocol 2, keys and buffer are Python 2's text."""
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    data = Python2Array(images.reshape(len(images), -1)).opcodes()
    return b"\x80\x02}(U\x04data" + data + b"U\x06labels](" + numbers + b"eu."


class Malicious:
    """Would create a file when unpickled without restrictions."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.victim),)


class TestCifarPython:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("as_bytes", [True, False])
    def test_every_protocol(self, tmp_path: Path, protocol: int, as_bytes: bool) -> None:
        images = noise(3, 3, 32, 32)
        content = {"data": images.reshape(3, -1), "labels": [0, 9, 4], "filenames": ["a", "b", "c"]}
        stored = {key.encode(): value for key, value in content.items()} if as_bytes else content
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps(stored, protocol))
        data = load_data(tmp_path)
        assert data.task == Task("cifar10", classes=10)
        assert data.labels.tolist() == [0, 9, 4]
        assert np.array_equal(data.images, images)

    def test_published_form(self, tmp_path: Path) -> None:
        images = noise(2, 3, 32, 32)
        stored = python2_batch(images, [7, 1])
        reference = pickle.loads(stored.replace(b"numpy.core.", b"numpy._core."), encoding="latin1")
        assert np.array_equal(reference["data"], images.reshape(2, -1))
        (tmp_path / "data_batch_1").write_bytes(stored)
        (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": CIFAR10_NAMES, "num_vis": 3072}, 2))
        data = load_data(tmp_path)
        assert np.array_equal(data.images, images)
        assert data.labels.tolist() == [7, 1]
        assert data.class_names == tuple(CIFAR10_NAMES)
        assert data.std == (0.2023, 0.1994, 0.2010)

    @pytest.mark.parametrize("labels", [[99, 0], np.array([99, 0], np.uint8), [np.int64(99), np.int64(0)]])
    def test_cifar100(self, tmp_path: Path, labels: Any) -> None:
        content = {"data": noise(2, 3072), "fine_labels": labels, "coarse_labels": [1, 2]}
        for name in ("train", "test"):
            (tmp_path / name).write_bytes(pickle.dumps(content))
        (tmp_path / "meta").write_bytes(pickle.dumps({b"fine_label_names": [b"kind %d" % n for n in range(100)]}))
        for source in (tmp_path, tmp_path / "test"):
            data = load_data(source)
            assert data.task == Task("cifar100", classes=100)
            assert data.labels.tolist() == [99, 0]
            assert data.class_names[7] == "kind 7"

    @pytest.mark.parametrize("name", ["data_batch_1", "batches.meta"])
    @pytest.mark.parametrize("protocol", [0, 2, 5])
    def test_malicious_pickle_runs_nothing(self, tmp_path: Path, name: str, protocol: int) -> None:
        victim = tmp_path / "victim"
        stored = pickle.dumps({"data": Malicious(victim), "labels": [0, 1]}, protocol)
        good = {"data": noise(2, 3072), "labels": [0, 1]}
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps(good))
        (tmp_path / name).write_bytes(stored)
        with pytest.raises(DataError, match=rf"{name}' .*mkdir"):
            load_data(tmp_path)
        assert not victim.exists()
        pickle.loads(stored)  # the attack works where nothing stops it
        assert victim.is_dir()

    @pytest.mark.parametrize(
        "stored",
        [
            b"cbuiltins\neval\n(S'1'\ntR.",
            b"cnumpy\nload\n(S'x'\ntR.",
            b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.",
            b"cnumpy.core.records\nfromfile\n.",
            b"(dX\x04\x00\x00\x00datacnumpy\nload\ns.",
            b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR.",
        ],
    )
    def test_other_globals_are_refused(self, tmp_path: Path, stored: bytes) -> None:
        (tmp_path / "test_batch").write_bytes(stored)
        with pytest.raises(DataError, match=r"test_batch' is no CIFAR batch .*(asks for|not a text encoding)"):
            load_data(tmp_path / "test_batch")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ([1, 2], "list instead of a dict"),
            ({"labels": [0, 1]}, "no array 'data'"),
            ({"data": np.zeros((2, 3072), np.float32), "labels": [0, 1]}, "type <f4 instead of integers"),
            ({"data": np.zeros((2, 3071), np.uint8), "labels": [0, 1]}, "no array 'data'"),
            ({"data": np.zeros((2, 3072), np.uint8)}, "no list 'labels'"),
            ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, "each of its 2 images"),
            ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, "1"]}, "no list 'labels'"),
            ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 2**70]}, "no list 'labels'"),
            ({"data": np.zeros((2, 3072), np.uint8), "labels": np.zeros((2, 1), int)}, "no list 'labels'"),
            ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, "each of its 0 images"),
            ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, -1]}, "from -1 to 0, but cifar10"),
        ],
    )
    def test_wrong_content(self, tmp_path: Path, content: Any, message: str) -> None:
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match=message):
            load_data(tmp_path)

    @pytest.mark.parametrize("content", [b"J\x00\x00\x00\x7f", b"N", b"C\x02ab"])
    def test_crafted_array_content(self, tmp_path: Path, content: bytes) -> None:
        dtype = b"cnumpy\ndtype\n(X\x02\x00\x00\x00u1tR"
        array = b"\x80\x04cnumpy.core.numeric\n_frombuffer\n(%b" + dtype + b"M\x00\x0cX\x01\x00\x00\x00CtR."
        (tmp_path / "test_batch").write_bytes(array % content)
        with pytest.raises(DataError, match=r"no CIFAR batch .*(has no content|reshape)"):
            load_data(tmp_path / "test_batch")

    @pytest.mark.parametrize("kept", [0, 1, 50, 3000])
    def test_truncated(self, tmp_path: Path, kept: int) -> None:
        stored = pickle.dumps({"data": noise(2, 3072), "labels": [0, 1]})
        (tmp_path / "data_batch_1").write_bytes(stored[:kept])
        with pytest.raises(DataError, match="data_batch_1"):
            load_data(tmp_path)


class TestMemory:
    @pytest.mark.parametrize(("limit", "is_enough"), [("max\n", True), ("3000000\n", True), ("2000000\n", False)])
    def test_a_container_has_no_more_than_its_limit(
        self, limit: str, is_enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "memory.max").write_text(limit)
        monkeypatch.setattr("trainless.data.sizes._CONTAINER", (tmp_path / "memory.max", tmp_path / "none"))
        with nullcontext() if is_enough else pytest.raises(DataError, match="give a smaller image size"):
            check_memory(1000, 3, 20, 20)  # 2.4 million bytes


class TestNpz:
    @pytest.mark.parametrize(("images_name", "labels_name"), [("x", "y"), ("images", "labels"), ("data", "Labels")])
    def test_names(self, tmp_path: Path, images_name: str, labels_name: str) -> None:
        images = noise(4, 3, 5, 6)
        np.savez(tmp_path / "toy.npz", **{images_name: images, labels_name: np.array([0, 1, 1, 0]), "more": images})
        data = load_data(tmp_path / "toy.npz")
        assert data.task == Task("toy", classes=2, channels=3, height=5, width=6)
        assert data.labels.tolist() == [0, 1, 1, 0]
        assert np.array_equal(data.images, images)
        np.testing.assert_allclose(data.std, (images / 255).std((0, 2, 3)))

    @pytest.mark.parametrize(
        ("shape", "axes"), [((4, 5, 6, 3), (0, 3, 1, 2)), ((4, 5, 6, 1), (0, 3, 1, 2)), ((4, 3, 6, 3), (0, 1, 2, 3))]
    )
    def test_layouts(self, tmp_path: Path, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
        images = noise(*shape)
        np.savez(tmp_path / "toy.npz", x=images, y=[0, 1, 1, 0])
        assert np.array_equal(load_data(tmp_path / "toy.npz").images, images.transpose(axes))

    def test_grey_without_channels(self, tmp_path: Path) -> None:
        images = noise(4, 5, 6)
        np.savez(tmp_path / "toy.npz", x=images, y=[[0], [1], [1], [0]])
        assert np.array_equal(load_data(tmp_path / "toy.npz").images[:, 0], images)

    def test_sparse_labels(self, tmp_path: Path) -> None:
        np.savez_compressed(tmp_path / "toy.npz", x=noise(4, 3, 2, 2), y=np.array([1000, 1, 20, 1], np.int16))
        data = load_data(tmp_path / "toy.npz")
        assert data.labels.tolist() == [2, 0, 1, 0]
        assert data.class_names == ("1", "20", "1000")

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"x": noise(2, 3, 4, 4)}, "none of the arrays y, labels"),
            ({"y": [0, 1]}, "none of the arrays x, images, data"),
            ({"x": noise(2, 3, 4, 4), "images": noise(2, 3, 4, 4), "y": [0, 1]}, "x and images"),
            ({"x": noise(2, 3, 4, 4).astype(np.float32), "y": [0, 1]}, "float32"),
            ({"x": noise(2, 4, 4, 4), "y": [0, 1]}, r"\(2, 4, 4, 4\)"),
            ({"x": noise(2, 48), "y": [0, 1]}, r"\(2, 48\)"),
            ({"x": noise(0, 3, 4, 4), "y": np.zeros(0, int)}, r"\(0, 3, 4, 4\)"),
            ({"x": noise(2, 3, 4, 4), "y": [0, 1, 1]}, "each of the 2 images"),
            ({"x": noise(2, 3, 4, 4), "y": [0.0, 1.0]}, "float64"),
            ({"x": noise(2, 3, 4, 4), "y": [5, 5]}, "at least 2 classes"),
        ],
    )
    def test_wrong_arrays(self, tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
        np.savez(tmp_path / "toy.npz", **arrays)
        with pytest.raises(DataError, match=message):
            load_data(tmp_path / "toy.npz")

    def test_objects_are_not_unpickled(self, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        np.savez(tmp_path / "toy.npz", x=noise(2, 3, 4, 4), y=np.array([Malicious(victim), 1], object))
        with pytest.raises(DataError, match="without Python objects"):
            load_data(tmp_path / "toy.npz")
        assert not victim.exists()

    def test_damaged_archives(self, tmp_path: Path) -> None:
        stream = io.BytesIO()
        np.savez(stream, x=noise(2, 3, 4, 4), y=[0, 1])
        content = stream.getvalue()
        flipped = content.replace(noise(2, 3, 4, 4).tobytes(), bytes(96))
        single = io.BytesIO()
        np.save(single, noise(2))
        for broken in (b"", b"text", content[:200], flipped, single.getvalue()):
            (tmp_path / "toy.npz").write_bytes(broken)
            with pytest.raises(DataError, match=r"toy\.npz' cannot be read as a NumPy archive"):
                load_data(tmp_path / "toy.npz")

    @pytest.mark.data
    def test_real_files(self, real_data: Path) -> None:
        imagenet = load_data(real_data / "image-batches" / "imagenet16_960.npz", name="ImageNet16-120")
        assert imagenet.task == Task("ImageNet16-120", classes=619, channels=3, height=16, width=16)
        assert len(imagenet) == 960
        assert (imagenet.class_names[0], imagenet.class_names[-1]) == ("1", "1000")
        with np.load(real_data / "image-batches" / "imagenet16_960.npz") as archive:
            originals = archive["labels"]
        assert [int(imagenet.class_names[label]) for label in imagenet.labels] == originals.tolist()
        cifar = load_data(real_data / "image-batches" / "cifar100_960.npz")
        assert cifar.task == Task("cifar100_960", classes=100)
        # The published statistics of CIFAR-100; these images are crops padded by up to 4 black pixels.
        mean, std = channel_statistics(cifar.images[:, :, 4:28, 4:28])
        np.testing.assert_allclose(mean, (0.5071, 0.4865, 0.4409), atol=0.02)
        np.testing.assert_allclose(std, (0.2673, 0.2564, 0.2762), atol=0.02)


class TestSources:
    @pytest.mark.parametrize("source", ["digit", "no/such/folder", Path("no/such/file.npz"), "nul\0"])
    def test_unknown_source_lists_the_forms(self, source: str | Path) -> None:
        with pytest.raises(DataError, match=r"There is no data set or path .*'digits', a folder .*CIFAR-10 .*\.npz"):
            load_data(source)

    def test_operating_system_refuses_the_path(self) -> None:
        with pytest.raises(DataError, match=r"cannot be read .*: check the path"):
            load_data("x" * 5000)

    @pytest.mark.parametrize("source", [3, None, b"digits", np.zeros(3)])
    def test_wrong_type(self, source: Any) -> None:
        with pytest.raises(DataError, match=r"cannot be read from a .*: give 'digits'"):
            load_data(source)

    def test_unknown_file(self, tmp_path: Path) -> None:
        save(tmp_path / "photo.png", noise(2, 2))
        with pytest.raises(DataError, match=r"photo\.png' is of no known form: give 'digits'"):
            load_data(tmp_path / "photo.png")

    @pytest.mark.parametrize("image_size", [0, -3])
    def test_image_size_below_1(self, image_size: int) -> None:
        with pytest.raises(DataError, match=f"{image_size} is too small"):
            load_data("digits", image_size=image_size)

    def test_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        np.savez(tmp_path / "toy.npz", x=noise(2, 3, 4, 4), y=[0, 1])
        assert load_data("~/toy.npz").task.name == "toy"

    def test_import_needs_no_torch(self) -> None:
        code = "import sys, trainless.data; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
