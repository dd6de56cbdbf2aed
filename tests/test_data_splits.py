"""Three parts of the data and their audit: given or split off, copies kept together, leaks and broken files told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainless.data import ImageSize, audit, drop_leaks, fingerprint, load_arrays, load_data, load_splits, propose_size
from trainless.data.dataset import channel_statistics
from trainless.errors import DataError


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def fill(folder: Path, number: int, names: tuple[str, ...] = ("cat", "dog"), first: int = 0) -> Path:
    """Save so many different images for each class."""
    for place, name in enumerate(names):
        for each in range(number):
            save(folder / name / f"{each}.png", noise(8, 8, seed=first + 1000 * place + each))
    return folder


def arrays(copies: list[int], labels: list[int]) -> Any:
    """A data set in which images of the same number are copies of each other."""
    pixels = noise(max(copies) + 1, 8, 8)
    return load_arrays(pixels[copies], labels)


class TestSplittingOff:
    def test_parts_hold_every_image_once_with_the_share_of_every_class(self) -> None:
        digits = load_data("digits")
        splits = load_splits("digits", fractions=(0.5, 0.2, 0.3), seed=3, image_size=8)
        together = np.concatenate([part.images for part in splits.parts.values()])
        assert sorted(image.tobytes() for image in together) == sorted(image.tobytes() for image in digits.images)
        for part, share in zip(splits.parts.values(), (0.5, 0.2, 0.3), strict=True):
            expected = np.bincount(digits.labels) * share
            assert np.abs(np.bincount(part.labels) - expected).max() <= 1.5

    def test_the_seed_alone_decides(self) -> None:
        first, second, other = (load_splits("digits", seed=seed).test.images for seed in (0, 0, 1))
        assert np.array_equal(first, second)
        assert not np.array_equal(first, other)

    def test_normalised_by_the_training_part_alone(self) -> None:
        splits = load_splits(load_data("digits"))
        for part in splits.parts.values():
            assert (part.mean, part.std) == channel_statistics(splits.train.images)
            assert part.task == splits.train.task

    def test_copies_stay_together(self) -> None:
        data = arrays([number % 40 for number in range(120)], [number % 2 for number in range(120)])
        for seed in range(5):
            report = audit(load_splits(data, seed=seed))
            assert report.total == 120
            assert report.leaks == ()
            assert len(report.copies) == 80

    @pytest.mark.parametrize("fractions", [(0.6, 0.4), (0.6, 0.2, 0.1), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1), (0.5,) * 4])
    def test_refuses_fractions(self, fractions: tuple[float, ...]) -> None:
        with pytest.raises(DataError, match=r"The fractions are .* above 0 that sum to 1 were expected"):
            load_splits("digits", fractions=fractions)

    def test_refuses_too_few_different_images(self) -> None:
        with pytest.raises(DataError, match="fewer than 2 classes with 3 different images or more"):
            load_splits(arrays([0, 1, 2, 3, 3, 3], [0, 0, 0, 1, 1, 1]))

    def test_refuses_labels_that_are_names_of_images(self) -> None:
        many = load_arrays(np.zeros((10_000, 4, 4), np.uint8), np.arange(10_000))
        with pytest.raises(DataError, match=r"10000 classes but 10000 images .* at least 3 for each class"):
            load_splits(many)

    def test_many_classes_are_no_error(self) -> None:
        report = audit(load_arrays(noise(6000, 4, 4), np.arange(6000) % 1000))
        assert len(str(report)) < 2000
        assert min(map(min, report.counts.values())) >= 1


class TestGiven:
    @pytest.mark.parametrize("names", [("valid", "test"), ("val", "test"), ("validation",), ("test",)])
    def test_folders(self, tmp_path: Path, names: tuple[str, ...]) -> None:
        for number, name in enumerate(("train", *names)):
            fill(tmp_path / name, 10 if name == "train" else 3, first=100 * number)
        splits = load_splits(tmp_path)
        assert splits.given == tuple("test" if name == "test" else "valid" for name in names)
        sizes = {part: len(data) for part, data in splits.parts.items()}
        # A quarter of the 20 training images where one part is missing: .2 of .6 + .2.
        expected = {part: 6 if part in splits.given else 5 for part in ("valid", "test")}
        assert sizes == {"train": 20 - 5 * (2 - len(names)), **expected}
        for part in splits.given:
            assert all(Path(file).parts[-3][:3] == part[:3] for file in splits.files[part])
        assert {part: len(files) for part, files in splits.files.items()} == sizes

    def test_cifar_test_batch(self, tmp_path: Path) -> None:
        for name, number in ("data_batch_1", 30), ("test_batch", 8):
            pixels = noise(number, 3072, seed=number)
            (tmp_path / f"{name}.bin").write_bytes(b"".join(bytes([n % 2]) + p.tobytes() for n, p in enumerate(pixels)))
        splits = load_splits(tmp_path)
        assert splits.given == ("test",)
        assert len(splits.test) == 8
        assert splits.train.mean == (0.4914, 0.4822, 0.4465)

    def test_a_class_that_train_lacks(self, tmp_path: Path) -> None:
        fill(tmp_path / "train", 4)
        fill(tmp_path / "test", 4, ("cat", "dgo"))
        with pytest.raises(DataError, match=r"has class 'dgo' in test but not in train \(did you mean 'dog'\?\)"):
            load_splits(tmp_path)
        assert len(load_data(tmp_path)) == 8

    def test_a_part_of_one_class(self, tmp_path: Path) -> None:
        fill(tmp_path / "train", 4)
        fill(tmp_path / "test", 4, ("cat",))
        splits = load_splits(tmp_path)
        assert splits.given == ()
        assert set(splits.test.labels) == {0, 1}
        assert len(splits.train) + len(splits.valid) + len(splits.test) == 8
        assert "The part 'test' has images of one class alone, 'cat': its 4 image(s) are left out" in splits.remarks[0]

    def test_a_part_without_class_folders(self, tmp_path: Path) -> None:
        fill(tmp_path / "train", 4)
        save(tmp_path / "test" / "1.png", noise(8, 8))
        with pytest.raises(DataError, match=r"test' holds 0 class folder\(s\) and 1 loose image"):
            load_splits(tmp_path)

    def test_two_names_of_a_part(self, tmp_path: Path) -> None:
        for name in ("train", "val", "valid"):
            fill(tmp_path / name, 3)
        with pytest.raises(DataError, match="holds both val and valid, which mean the same part"):
            load_splits(tmp_path)


class TestBrokenFiles:
    def test_are_left_out_and_noted(self, tmp_path: Path) -> None:
        fill(tmp_path, 20)
        (tmp_path / "cat/text.png").write_text("no image")
        whole = save(tmp_path / "dog/cut.png", noise(40, 40)).read_bytes()
        (tmp_path / "dog/cut.png").write_bytes(whole[: len(whole) // 2])
        splits = load_splits(tmp_path)
        assert sum(map(len, splits.parts.values())) == 40
        assert [Path(path).name for path, _ in splits.broken] == ["text.png", "cut.png"]
        report = audit(splits)
        assert "2 file(s) cannot be read" in report.advice()[0]
        assert "text.png (its content is not that of an image)" in str(report)

    def test_too_many_are_refused(self, tmp_path: Path) -> None:
        fill(tmp_path, 4)
        (tmp_path / "cat/text.png").write_text("no image")
        with pytest.raises(DataError, match=r"1 of the 9 files .*text\.png' \(its content.* at most 5% may be"):
            load_splits(tmp_path)
        assert len(load_splits(tmp_path, max_broken=0.2).broken) == 1

    def test_a_class_of_nothing_else(self, tmp_path: Path) -> None:
        fill(tmp_path, 4, ("a", "b"))
        (tmp_path / "c").mkdir()
        (tmp_path / "c/text.png").write_text("no image")
        with pytest.raises(DataError, match=r"Class 'c' of .* has no image that can be read"):
            load_splits(tmp_path, max_broken=0.5)

    def test_an_unreadable_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Rights do not stop the superuser, who may run this.
        fill(tmp_path, 4)
        scan = os.scandir

        def refuse(path: Any) -> Any:
            if Path(path).name == "dog":
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(DataError, match=r"dog' cannot be read \(Permission denied\): check its rights"):
            load_splits(tmp_path)

    def test_one_image(self, tmp_path: Path) -> None:
        save(tmp_path / "cat/1.png", noise(8, 8))
        with pytest.raises(DataError, match="at least 2 classes are needed"):
            load_splits(tmp_path)

    @pytest.mark.parametrize("image_size", [None, 8])
    def test_images_of_one_pixel(self, tmp_path: Path, image_size: int | None) -> None:
        for number in range(8):
            save(tmp_path / f"class{number % 2}" / f"{number}.png", noise(1, 1))
        with pytest.raises(DataError, match=r"at most 1 pixel\(s\) high or wide, but a network needs 4"):
            load_splits(tmp_path, image_size=image_size)

    def test_other_options(self) -> None:
        with pytest.raises(DataError, match="Image size 2 is too small"):
            load_splits("digits", image_size=2)
        with pytest.raises(DataError, match="share of broken files is 5"):
            load_splits("digits", max_broken=5)


class TestLeaks:
    def leaky(self, folder: Path) -> Path:
        """Two test images and one for validation are in train; one of test has another class there."""
        for name, first in ("train", 0), ("valid", 100), ("test", 200):
            fill(folder / name, 6, first=first)
        content = (folder / "train/cat/0.png").read_bytes()
        (folder / "test/cat/9.png").write_bytes(content)
        save(folder / "test/dog/9.bmp", noise(8, 8, seed=1))
        (folder / "valid/cat/9.png").write_bytes((folder / "train/cat/2.png").read_bytes())
        save(folder / "train/cat/copy.png", noise(8, 8, seed=3))
        return folder

    def test_are_told(self, tmp_path: Path) -> None:
        report = audit(self.leaky(tmp_path))
        found = {(leak.part, Path(leak.image).name, leak.of_part, Path(leak.of_image).name) for leak in report.leaks}
        assert found == {
            ("valid", "9.png", "train", "2.png"),
            ("test", "9.png", "train", "0.png"),
            ("test", "9.bmp", "train", "1.png"),
        }
        assert sorted((leak.same_label, leak.same_file) for leak in report.leaks) == [
            (False, False), (True, True), (True, True),
        ]  # fmt: skip
        assert [Path(copy.image).name for copy in report.copies] == ["copy.png"]
        assert report.conflicts == 1
        assert "3 image(s) are in two parts, 2 of them in test" in " ".join(report.advice())

    def test_are_dropped(self, tmp_path: Path) -> None:
        splits = drop_leaks(load_splits(self.leaky(tmp_path)))
        assert dict(splits.dropped) == {"valid": 1, "test": 2}
        assert {part: len(data) for part, data in splits.parts.items()} == {"train": 13, "valid": 12, "test": 12}
        assert {part: len(files) for part, files in splits.files.items()} == {"train": 13, "valid": 12, "test": 12}
        report = audit(splits)
        assert report.leaks == ()
        assert "0 (left out: valid 1, test 2)" in str(report)

    def test_nothing_left(self, tmp_path: Path) -> None:
        for name in ("train", "test"):
            fill(tmp_path / name, 6)
        with pytest.raises(DataError, match=r"The part 'test' of .* without its leaks has images of 0 class"):
            drop_leaks(load_splits(tmp_path))


class TestAudit:
    def test_counts_sizes_and_constant_images(self, tmp_path: Path) -> None:
        for name, number, size in ("cat", 30, 16), ("dog", 3, 24):
            for each in range(number):
                save(tmp_path / name / f"{each}.png", noise(size, 16, seed=each + size))
        save(tmp_path / "cat/flat.png", np.full((16, 16), 7, np.uint8))
        # Half of the pixels 4 above the others: a deviation of 2. At 6 above it is 3.
        for name, step in ("faint", 4), ("clear", 6):
            save(tmp_path / f"cat/{name}.png", np.tile(np.array([[9, 9 + step]], np.uint8), (16, 8)))
        report = audit(tmp_path)
        assert {Path(name).stem for name in report.constant} == {"flat", "faint"}
        assert np.sum(list(report.counts.values()), axis=0).tolist() == [33, 3]
        assert report.sizes == (ImageSize(16, 16, 33), ImageSize(24, 16, 3))
        assert report.image_shape == (1, 16, 16)
        assert report.imbalance == max(report.counts["train"]) / 1
        advice = " ".join(report.advice())
        assert "1 class(es) have fewer than 10 images" in advice
        assert "unequal by a factor of" in advice


class TestProposedSize:
    @pytest.mark.parametrize(
        ("sizes", "at_most", "expected"),
        [
            ([(28, 28, 9)], 64, 28),
            ([(28, 30, 9), (40, 28, 5)], 64, 28),
            ([(480, 640, 9)], 64, 64),
            ([(480, 640, 9)], 224, 224),
            ([(30, 30, 1), (45, 99, 1), (200, 50, 1)], 64, 40),  # the median of 30, 45, 50, rounded down
            ([(7, 7, 3), (9, 9, 1)], 64, 16),  # enlarged, for networks halve images several times
            ([(8, 8, 9)], 12, 12),
            ([(10, 10, 1), (20, 20, 9)], 64, 16),
        ],
    )
    def test_median_of_the_shorter_sides(self, sizes: list[tuple[int, int, int]], at_most: int, expected: int) -> None:
        assert propose_size([ImageSize(*size) for size in sizes], at_most) == expected

    def test_refuses_a_bound_below_4(self) -> None:
        with pytest.raises(DataError, match="at most 3 pixels were asked for"):
            propose_size([ImageSize(8, 8, 1)], 3)


class TestOrigin:
    def test_what_is_said_of_it_reads_the_same_images_in_the_same_parts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(fill(tmp_path, 9))
        first = drop_leaks(load_splits(".", fractions=(0.4, 0.3, 0.3), seed=5, image_size=6, resize="pad"))
        monkeypatch.chdir(tmp_path.parent)
        origin = dict(first.origin)
        assert origin.pop("drop_leaks")
        again = load_splits(**origin)
        assert [fingerprint(part) for part in again.parts.values()] == [
            fingerprint(part) for part in first.parts.values()
        ]

    def test_names_and_images_in_memory(self) -> None:
        assert load_splits("digits(image_size=8)").origin["source"] == "digits"
        assert "source" not in load_splits(load_data("digits")).origin
