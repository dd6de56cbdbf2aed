"""Folders as people have them: parts by any name, what is beside them, links, empty folders, formats not read."""

from __future__ import annotations

import os
import random
import shutil
import struct
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainless.data import Splits, audit, load_data, load_splits
from trainless.data.folders import list_image_folder
from trainless.data.image_files import read_pixels
from trainless.data.image_formats import has_heif, image_suffixes
from trainless.data.part_names import named_parts, part_of_name
from trainless.errors import DataError


def make(folder: Path, *names: str, number: int = 6) -> Path:
    """Some different images in each of some folders."""
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for image in range(number):
            pixels = np.random.default_rng([image, *name.encode()]).integers(0, 256, (6, 6), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{image}.png")
    return folder


def reasons(left_out: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What is left out, without what is said more of it."""
    return {path: reason.partition("(s)")[0] for path, reason in left_out}


def refused(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        list_image_folder(folder)
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


class TestNamesOfParts:
    @pytest.mark.parametrize(
        ("part", "names"),
        [
            (
                "train",
                ["train", "TRAIN", "Training", "train_set", "TrainingSet", "trainset", "train2017", "Train-Images"],
            ),
            (
                "valid",
                [
                    "val",
                    "Valid",
                    "VALIDATION",
                    "validate",
                    "dev",
                    "devset",
                    "development",
                    "val_data",
                    "validation split",
                ],
            ),
            ("test", ["test", "Testing", "eval", "Evaluation", "test_images", "testset"]),
            (
                None,
                ["cat", "contrast", "latest", "test tube", "trains", "invalid", "device", "", "2017", "train_val", "ö"],
            ),
        ],
    )
    def test_one_name(self, part: str | None, names: list[str]) -> None:
        assert {name: part_of_name(name) for name in names} == dict.fromkeys(names, part)

    def test_words_beside_the_part_must_be_the_same(self) -> None:
        assert named_parts(["seg_train", "seg_test", "seg_pred"]) == {"seg_train": "train", "seg_test": "test"}
        assert named_parts(["train station", "test tube", "seg_test"]) == {}

    def test_eval_beside_test_is_for_validation(self) -> None:
        assert named_parts(["train", "eval", "test"]) == {"train": "train", "eval": "valid", "test": "test"}
        assert named_parts(["train", "eval", "val"])["eval"] == "test"
        assert named_parts(["train", "eval"])["eval"] == "test"


class TestParts:
    @pytest.mark.parametrize(
        "names", [("TRAIN", "Val", "TEST"), ("training", "validation", "testing"), ("train", "dev", "eval"),
                  ("pets_train", "pets_dev", "pets_test"), ("train2017", "val2017", "test2017")],
    )  # fmt: skip
    def test_by_any_name(self, names: tuple[str, ...], tmp_path: Path) -> None:
        listing = list_image_folder(make(tmp_path, *(f"{name}/{kind}" for name in names for kind in ("cat", "dog"))))
        assert listing.class_names == ("cat", "dog")
        assert listing.parts == ("train",) * 12 + ("valid",) * 12 + ("test",) * 12
        assert (listing.left_out, listing.remarks) == ((), ())

    @pytest.mark.parametrize("parts", [("train", "val"), ("train",)])
    def test_what_is_beside_them_is_left_out(self, parts: tuple[str, ...], tmp_path: Path) -> None:
        make(tmp_path, *(f"{part}/{kind}" for part in parts for kind in ("cat", "dog")))
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "readme.txt").touch()
        (tmp_path / "__MACOSX" / "train").mkdir(parents=True)
        (tmp_path / "__MACOSX" / "train" / "1.png").touch()
        listing = list_image_folder(tmp_path)
        assert set(listing.parts) == {"valid" if part == "val" else part for part in parts}
        assert listing.class_names == ("cat", "dog")
        assert reasons(listing.left_out) == {"__MACOSX": "system folder", "docs (0 image(s))": "folder"}

    def test_images_beside_several_parts_are_counted(self, tmp_path: Path) -> None:
        make(tmp_path, "train/cat", "train/dog", "val/cat", "extra/cat", "figures")
        (tmp_path / "cover.png").touch()
        listing = list_image_folder(tmp_path)
        assert listing.class_names == ("cat", "dog")
        assert [path for path, _ in listing.left_out] == ["cover.png", "extra (6 image(s))", "figures (6 image(s))"]

    @pytest.mark.parametrize("others", [("cat", "dog"), ("figures",)])
    @pytest.mark.parametrize("part", ["train", "test"])
    def test_a_part_beside_classes_is_refused(self, part: str, others: tuple[str, ...], tmp_path: Path) -> None:
        message = refused(make(tmp_path, f"{part}/cat", f"{part}/dog", *others))
        assert f"holds '{part}', which is named and built like a part of the data, beside '{others[0]}'" in message

    @pytest.mark.parametrize("names", [("val", "test"), ("val/cat", "val/dog", "docs/none"), ("val/cat", "test/cat")])
    def test_none_to_train_on(self, names: tuple[str, ...], tmp_path: Path) -> None:
        make(tmp_path, *names)
        shutil.rmtree(tmp_path / "docs", ignore_errors=True)
        assert "but none to train on: call one of them 'train'" in refused(tmp_path)

    def test_twice(self, tmp_path: Path) -> None:
        assert "holds both Train and train, which mean the same" in refused(
            make(tmp_path, "Train/a", "train/b", "val/a")
        )

    def test_unlabelled_images_of_a_part(self, tmp_path: Path) -> None:
        make(tmp_path, "train/cat", "train/dog", "test", "docs")
        message = refused(tmp_path)
        assert "test' holds 0 class folder(s) and 6 loose image(s)" in message
        assert "at least 1 class is needed" in message
        assert message.endswith("or move them away if it is not known of what class they are.")

    def test_an_empty_part_is_left_out(self, tmp_path: Path) -> None:
        make(tmp_path, "train/cat", "train/dog")
        (tmp_path / "test").mkdir()
        (tmp_path / "val" / "cat").mkdir(parents=True)
        listing = list_image_folder(tmp_path)
        assert listing.only_train
        assert set(reasons(listing.left_out)) == {"test", "val", "val/cat"}

    def test_of_one_class_alone_another_is_split_off(self, tmp_path: Path) -> None:
        make(tmp_path, "train/cat", "train/dog", "val/cat", number=10)
        (tmp_path / "val" / "dog").mkdir()
        splits = load_splits(tmp_path)
        assert splits.given == ()
        assert {part: len(data) for part, data in splits.parts.items()} == {"train": 12, "valid": 4, "test": 4}
        assert not any("val" in Path(name).parts for names in splits.files.values() for name in names)
        assert "The part 'valid' has images of one class alone, 'cat': its 10 image(s)" in splits.remarks[0]

    def test_by_names_that_say_nothing_are_classes_with_a_remark(self, tmp_path: Path) -> None:
        make(tmp_path, "north/cat", "north/dog", "south/cat", "south/dog")
        splits = load_splits(tmp_path)
        assert splits.train.class_names == ("north", "south")
        assert splits.remarks == (
            "'north', 'south' are taken for the classes, and each of them holds 'cat', 'dog': if those are the "
            "classes, call the folders around them train, valid and test.",
        )

    def test_classes_with_folders_of_their_own_have_no_remark(self, tmp_path: Path) -> None:
        make(tmp_path, "cat/day", "cat/night", "dog/day")
        assert load_splits(tmp_path).remarks == ()

    def test_a_class_may_be_called_like_one(self, tmp_path: Path) -> None:
        listing = list_image_folder(make(tmp_path, "bus", "car", "train"))
        assert listing.class_names == ("bus", "car", "train")
        assert listing.remarks == (
            "Folder 'train' is named like a part of the data, but holds no class folders, so it is taken for a class.",
        )
        assert list_image_folder(make(tmp_path / "more", "valid", "invalid")).class_names == ("invalid", "valid")

    def test_within_every_class(self, tmp_path: Path) -> None:
        make(tmp_path, "cat/Train", "cat/test", "dog/Train", "dog/test", "dog/more")
        (tmp_path / "mouse").mkdir()
        listing = list_image_folder(tmp_path)
        assert listing.class_names == ("cat", "dog")
        assert listing.parts == ("train",) * 12 + ("test",) * 12
        assert [path.parts[-3] for path in listing.paths[::6]] == ["cat", "dog", "cat", "dog"]
        assert reasons(listing.left_out) == {
            "mouse": "class folder", "dog/more": "file",
        }  # fmt: skip

    def test_within_some_classes(self, tmp_path: Path) -> None:
        message = refused(make(tmp_path, "cat/train", "cat/test", "dog"))
        assert "cat' holds parts of the data, but" in message
        assert "dog' does not: give all classes such folders, or none." in message


class TestClasses:
    def test_empty_ones_are_left_out(self, tmp_path: Path) -> None:
        make(tmp_path, "cat", "dog")
        (tmp_path / "mouse" / "deeper").mkdir(parents=True)
        (tmp_path / "horse").mkdir()
        (tmp_path / "horse" / "1.txt").touch()
        report = audit(tmp_path)
        assert report.class_names == ("cat", "dog")
        assert "2 class folder(s) without an image that is read: horse, mouse" in str(report)

    @pytest.mark.parametrize(
        ("names", "order"),
        [
            (["10", "9", "2", "-1"], ("-1", "2", "9", "10")),
            (["0.5", "10", "1.5", "01", "1"], ("0.5", "01", "1", "1.5", "10")),
            (["10", "9", "two"], ("10", "9", "two")),
        ],
    )
    def test_numbers_are_sorted_as_such(self, names: list[str], order: tuple[str, ...], tmp_path: Path) -> None:
        listing = list_image_folder(make(tmp_path, *names, number=1))
        assert listing.class_names == order
        assert [path.parent.name for path in listing.paths] == [order[label] for label in listing.labels]

    def test_the_same_but_for_case(self, tmp_path: Path) -> None:
        (remark,) = list_image_folder(make(tmp_path, "A", "a", "B", "b", number=1)).remarks
        assert remark == "Classes 'A' and 'a' and 1 more pair(s) differ in case alone: if they are the same, join them."
        make(tmp_path / "parts", "train/DOG", "train/cat", "test/dog", number=1)
        assert "has class 'dog' in test but not in train (did you mean 'DOG'?)" in refused(tmp_path / "parts")

    def test_a_single_folder_around_them(self, tmp_path: Path) -> None:
        make(tmp_path, "pets/pets-main/cat", "pets/pets-main/dog", "pets/__MACOSX/cat")
        listing = list_image_folder(tmp_path / "pets")
        assert (listing.name, listing.class_names) == ("pets", ("cat", "dog"))
        assert listing.remarks == ("The classes were looked for in 'pets-main', the only folder that is there.",)
        assert reasons(listing.left_out) == {"__MACOSX": "system folder"}

    def test_a_single_folder_around_each_part(self, tmp_path: Path) -> None:
        make(tmp_path, *(f"seg_{part}/seg_{part}/{kind}" for part in ("train", "test") for kind in ("sea", "street")))
        make(tmp_path, "seg_pred")
        listing = list_image_folder(tmp_path)
        assert listing.parts == ("train",) * 12 + ("test",) * 12
        assert [path for path, _ in listing.left_out] == ["seg_pred (6 image(s))"]

    @pytest.mark.parametrize("names", [("cat",), ("cat/deeper",), ("cat/deeper", "cat"), ()])
    def test_a_single_class(self, names: tuple[str, ...], tmp_path: Path) -> None:
        assert f"{len(set(names[:1]))} class folder(s)" in refused(make(tmp_path, *names))

    def test_a_table_beside_loose_images_is_named(self, tmp_path: Path) -> None:
        make(tmp_path, "images")
        (tmp_path / "labels.csv").touch()
        assert refused(tmp_path).endswith(", or give the table 'labels.csv' if it tells of them.")

    def test_images_beside_them_and_hidden_ones_are_counted(self, tmp_path: Path) -> None:
        make(tmp_path, "cat", "dog", ".git", "cat/@eaDir", "cat/.cache", "dog/LOST+FOUND")
        for name in ("loose.JPG", "cat/._0.png", "cat/.DS_Store", "cat/Thumbs.db", "cat/readme.txt"):
            (tmp_path / name).touch()
        listing = list_image_folder(tmp_path)
        assert len(listing.paths) == 12
        assert reasons(listing.left_out) == {
            ".git": "hidden folder", "cat/@eaDir": "system folder", "cat/.cache": "hidden folder",
            "dog/LOST+FOUND": "system folder", "loose.JPG": "image", "cat/._0.png": "hidden image",
        }  # fmt: skip

    @pytest.mark.parametrize("suffix", ["PNG", "Jpg", "jfif", "TIF"])
    def test_suffixes_in_any_case(self, suffix: str, tmp_path: Path) -> None:
        for name in ("cat", "dog"):
            (tmp_path / name).mkdir()
            (tmp_path / name / f"1.{suffix}").touch()
        assert len(list_image_folder(tmp_path).paths) == 2


class TestLinks:
    def test_are_left_out_one_by_one(self, tmp_path: Path) -> None:
        make(tmp_path, "elsewhere")
        pets = make(tmp_path / "pets", "cat", "dog")
        (pets / "cat" / "gone.png").symlink_to("nowhere.png")
        (pets / "cat" / "out.png").symlink_to(tmp_path / "elsewhere" / "0.png")
        (pets / "cat" / "inside.png").symlink_to(pets / "dog" / "0.png")
        (pets / "cat" / "again").symlink_to(pets / "dog", target_is_directory=True)
        (pets / "all").symlink_to(pets, target_is_directory=True)
        (pets / "kitten").symlink_to(pets / "cat", target_is_directory=True)
        (pets / "bird").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (pets / "lost").symlink_to("nowhere", target_is_directory=True)
        (pets / "self").symlink_to(pets / "self")
        listing = list_image_folder(pets)
        assert listing.class_names == ("cat", "dog")
        assert len(listing.paths) == 13
        assert dict(listing.left_out) == {
            "cat/gone.png": "link(s) to nowhere",
            "cat/out.png": "link(s) that lead outside of the folder",
            "cat/again": "link(s) to a folder, within a class",
            "all": "link(s) to a folder that is there already",
            "kitten": "link(s) to a folder that is there already",
            "bird": "link(s) that lead outside of the folder",
            "lost": "link(s) to nowhere",
            "self": "link(s) to nowhere",
        }
        assert audit(pets).total == 13

    def test_a_collection_of_links_is_read(self, tmp_path: Path) -> None:
        make(tmp_path / "store", "raw")
        for name in ("cat", "dog"):
            (tmp_path / "pets" / name).mkdir(parents=True)
            for number in range(3):
                (tmp_path / "pets" / name / f"{number}.png").symlink_to(tmp_path / "store" / "raw" / f"{number}.png")
        (tmp_path / "pets" / "mouse").symlink_to(tmp_path / "store" / "raw", target_is_directory=True)
        listing = list_image_folder(tmp_path / "pets")
        assert listing.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 6
        assert listing.left_out == ()

    def test_in_a_circle(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").symlink_to(tmp_path / "a", target_is_directory=True)
        assert "0 class folder(s)" in refused(tmp_path / "a")
        assert "class folder(s)" in refused(tmp_path)


class TestOrder:
    def test_of_files_on_disk_changes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same folder is made in another order, and listed in a third one."""
        first = make(tmp_path / "first", "9", "10", "11/deep", "11/er")
        files = sorted(path.relative_to(first) for path in first.rglob("*.png"))
        random.Random(0).shuffle(files)
        for path in files:
            (tmp_path / "second" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(first / path, tmp_path / "second" / path)
        expected = told(load_splits(first, name="pets"), first)
        assert told(load_splits(tmp_path / "second", name="pets"), tmp_path / "second") == expected
        scandir = os.scandir

        class Shuffled(list[os.DirEntry[str]]):
            def __enter__(self) -> Shuffled:
                random.Random(1).shuffle(self)
                return self

            def __exit__(self, *_: object) -> None:
                pass

        monkeypatch.setattr(os, "scandir", lambda path: Shuffled(scandir(path)))
        assert told(load_splits(first, name="pets"), first) == expected


def told(splits: Splits, folder: Path) -> tuple[object, ...]:
    files = {part: [Path(name).relative_to(folder) for name in names] for part, names in splits.files.items()}
    pixels = [(data.images.tobytes(), data.labels.tolist()) for data in splits.parts.values()]
    return files, pixels, splits.train.class_names, splits.train.mean


class TestFormats:
    def test_what_is_not_read_is_counted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> None:
        monkeypatch.setattr("trainless.data.image_formats.find_spec", lambda name: None)
        has_heif.cache_clear()
        image_suffixes.cache_clear()
        request.addfinalizer(has_heif.cache_clear)
        request.addfinalizer(image_suffixes.cache_clear)
        make(tmp_path, "cat", "dog")
        for name in ("cat/1.heic", "cat/2.HEIF", "dog/3.svg", "dog/4.CR2"):
            (tmp_path / name).touch()
        shown = str(audit(tmp_path))
        assert "2 HEIF image(s), which are read after pip install 'trainless[heif]': cat/1.heic, cat/2.HEIF" in shown
        assert "1 .svg image(s), which are not read: save them as PNG or JPEG: dog/3.svg" in shown
        assert "1 .cr2 image(s)" in shown
        make(tmp_path, "mouse", "horse", number=1)
        (tmp_path / "mouse" / "0.png").rename(tmp_path / "mouse" / "0.heic")
        (remark,) = list_image_folder(tmp_path).remarks
        assert remark.startswith("Folder 'mouse' holds images, but none of a format that is read, so it is no class")

    @pytest.mark.skipif(not has_heif(), reason="the package pillow-heif is not installed")
    def test_photographs_of_telephones(self, tmp_path: Path) -> None:
        from pillow_heif import register_heif_opener

        register_heif_opener()
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise by a quarter
        pixels = np.zeros((32, 64), np.uint8)
        pixels[:, 32:] = 255
        for name in ("cat", "dog"):
            for number in range(6):
                (tmp_path / name).mkdir(exist_ok=True)
                photograph = Image.fromarray(pixels).convert("RGB")
                photograph.save(tmp_path / name / f"{number}.HEIC", format="HEIF", quality=90, exif=exif.tobytes())
        data = load_data(tmp_path)
        assert (len(data), data.task.input_shape) == (12, (3, 64, 32))
        assert data.images[:, :, :28].max() < 30
        assert data.images[0, :, 36:].min() > 225
        (tmp_path / "cat" / "7.heic").write_bytes((tmp_path / "cat" / "0.HEIC").read_bytes()[:200])
        with pytest.raises(DataError, match=r"7\.heic' is damaged or no image"):
            load_data(tmp_path)


class TestDepth:
    def deep(self, folder: Path, largest: int, number: int = 6, name: str = "cat", first: int = 0) -> Path:
        """Images of 16 bits, of which the first is dark and the last has the largest value."""
        (folder / name).mkdir(parents=True, exist_ok=True)
        for image in range(number):
            pixels = np.full((6, 6), largest * (image + 1) // number, np.uint16)
            pixels[image % 6, 0] = first
            Image.fromarray(pixels).save(folder / name / f"{image}.png")
        return folder

    @pytest.mark.parametrize(
        ("largest", "white"), [(200, 255), (1000, 1023), (4095, 4095), (3000, 4095), (16000, 16383), (60000, 65535)]
    )
    def test_white_is_what_the_largest_value_needs(self, largest: int, white: int, tmp_path: Path) -> None:
        self.deep(tmp_path, largest)
        self.deep(tmp_path, largest // 3, name="dog", first=1)
        splits = load_splits(tmp_path, image_size=6)
        assert splits.deep_white == splits.train.deep_white == splits.preprocessing.deep_white == white
        pixels = {
            Path(name).relative_to(tmp_path).as_posix(): image
            for part, names in splits.files.items()
            for name, image in zip(names, splits.parts[part].images, strict=True)
        }
        for name, value in ("cat/5.png", largest), ("cat/0.png", largest // 6), ("dog/5.png", largest // 3):
            assert abs(int(pixels[name].max()) - 255 * value / white) <= 0.5
        shown = dict(audit(splits).rows()).get("files of 16 bits")
        assert shown == (None if white == 65535 else f"{white:,} is white: values have {white.bit_length()} bits")

    def test_images_of_8_bits_are_as_they_were(self, tmp_path: Path) -> None:
        self.deep(tmp_path, 4095)
        make(tmp_path, "dog")
        data = load_data(tmp_path)
        assert data.images[data.labels == 0].max() == 255
        assert np.array_equal(data.images[6, 0], np.asarray(Image.open(tmp_path / "dog" / "0.png")))
        assert load_splits(data).preprocessing.deep_white == data.deep_white == 4095

    def test_new_images_have_the_scale_of_those_that_were_trained_on(self, tmp_path: Path) -> None:
        splits = load_splits(self.deep(self.deep(tmp_path, 4095), 4095, name="dog", first=9), image_size=6)
        Image.fromarray(np.array([[1000, 4095, 9000]], np.uint16)).save(tmp_path / "new.png")
        wanted = replace(splits.preprocessing, height=1, width=3)
        assert read_pixels(tmp_path / "new.png", wanted).tolist() == [[[62, 255, 255]]]  # 255 / 4095 of each

    def test_damaged_ones_do_not_count(self, tmp_path: Path) -> None:
        self.deep(self.deep(tmp_path, 4095, 20), 4095, 20, "dog", 9)
        whole = (tmp_path / "dog" / "0.png").read_bytes()
        (tmp_path / "dog" / "cut.png").write_bytes(whole[:-30])
        Image.fromarray(np.array([[70_000]], np.int32)).save(tmp_path / "cat" / "32bits.tif")
        splits = load_splits(tmp_path)
        assert splits.deep_white == 4095
        assert [Path(path).name for path, _ in splits.broken] == ["32bits.tif", "cut.png"]

    def test_deep_colours_are_told(self, tmp_path: Path) -> None:
        make(tmp_path, "cat", "dog")
        rows = b"".join(b"\0" + np.full(18, 4095 * row // 6, ">u2").tobytes() for row in range(6))
        chunks = (b"IHDR", struct.pack(">2I5B", 6, 6, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
        parts = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
                 for kind, data in chunks]  # fmt: skip
        (tmp_path / "cat" / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
        (remark,) = audit(tmp_path).advice()[:1]
        assert remark.startswith("1 image(s) have 16 bits for each colour, of which the upper 8 are read")
