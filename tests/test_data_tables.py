"""Tables of paths and labels: what is read, and one sentence for all that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainless.data import load_data, load_splits
from trainless.data.csv_files import list_csv
from trainless.errors import DataError


def save(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 6), grey).save(path)


def write(folder: Path, text: str, number: int = 0, encoding: str = "utf-8") -> Path:
    """Write the table beside `number` images, 0.png, 1.png and so on."""
    for each in range(number):
        save(folder / f"{each}.png", each)
    table = folder / "pets.csv"
    table.write_text(text, encoding=encoding)
    return table


def refused(table: Path) -> str:
    with pytest.raises(DataError) as error:
        list_csv(table)
    message = str(error.value)
    assert message.endswith((".", "'?"))
    assert "\n" not in message
    return message


class TestReading:
    def test_labels_and_images(self, tmp_path: Path) -> None:
        data = load_data(write(tmp_path, "path,label\n0.png,dog\n./1.png, cat\n\n2.png,dog\n", 3))
        assert data.task.name == "pets"
        assert data.class_names == ("cat", "dog")
        assert data.labels.tolist() == [1, 0, 1]
        assert data.images[:, 0, 0, 0].tolist() == [0, 1, 2]

    @pytest.mark.parametrize("delimiter", [";", "\t"])
    def test_spreadsheets(self, tmp_path: Path, delimiter: str) -> None:
        text = 'Number|"Label"|PATH\n1|"a;, b"|0.png\n2|ö|1.png\n'.replace("|", delimiter)
        listing = list_csv(write(tmp_path, text, 2, "utf-8-sig"))
        assert listing.class_names == ("a;, b", "ö")

    def test_absolute_paths_and_other_folders(self, tmp_path: Path) -> None:
        save(tmp_path / "far/0.png", 7)
        table = write(tmp_path / "near", f"path,label\n../far/0.png,a\n{tmp_path / 'near' / '0.png'},b\n", 1)
        assert load_data(table).images[:, 0, 0, 0].tolist() == [7, 0]

    def test_splits(self, tmp_path: Path) -> None:
        rows = [("train", 0), ("Training", 1), ("val", 2), ("valid", 3), ("validation", 4), ("test", 5), ("test", 6)]
        lines = [f"{number}.png,{'ab'[number % 2]},{split}" for split, number in rows]
        table = write(tmp_path, "\n".join(["path,label,split", *lines]), 7)
        assert list_csv(table).parts == ("train", "train", "valid", "valid", "valid", "test", "test")
        assert load_data(table).images[:, 0, 0, 0].tolist() == [0, 1]
        splits = load_splits(table)
        assert splits.given == ("valid", "test")
        assert {part: data.images[:, 0, 0, 0].tolist() for part, data in splits.parts.items()} == {
            "train": [0, 1], "valid": [2, 3, 4], "test": [5, 6],
        }  # fmt: skip
        assert [Path(name).name for name in splits.files["test"]] == ["5.png", "6.png"]

    def test_numbered_classes_are_no_typing_errors(self, tmp_path: Path) -> None:
        rows = "".join(f"{number}.png,class {number // 10}\n" for number in range(11))
        assert list_csv(write(tmp_path, "path,label\n" + rows, 11)).class_names == ("class 0", "class 1")


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "has the columns none, but one 'path', one 'label'"),
            ("path,label\n", "lists no images: add rows below its header."),
            ("file,labels\n0.png,a\n", "has the columns 'file', 'labels', but one 'path'"),
            ("path,labels\n0.png,a\n", "(is 'labels' the label?): name them so"),
            ("path,label,label\n0.png,a,b\n", "has the columns 'path', 'label', 'label'"),
            ("0.png,a\n1.png,b\n", "has the columns '0.png', 'a'"),
            ("path,label\n0.png,a\n1.png\n", "Line 3 of"),
            ("path,label\n0.png,a\n1.png,\n", "has no label: fill it in or remove the line."),
            ("path,label\n,a\n", "has no path"),
            ("path,label,split\n0.png,a,\n", "has no split"),
            ("path,label,split\n0.png,a,tset\n", "has the split 'tset' (did you mean 'test'?): give train, valid or"),
            ("path,label\n0.png,a\n1.png,b\n./0.png,b\n", "Lines 2 and 4 of"),
            ("path,label\n0.png,a\n9.png,b\n8.png,b\n", "(2 of 3 are not there)"),
            ("path,label\n0.png,a\n1.png,a\n", "has 1 class(es) to train on"),
            ("path,label,split\n0.png,a,test\n1.png,b,test\n", "has class 'a' in test but not in train"),
            (
                "path,label,split\n0.png,cat,train\n1.png,dog,train\n2.png,dgo,test\n",
                "has class 'dgo' in test but not in train (did you mean 'dog'?)",
            ),
        ],
    )
    def test_one_sentence_names_what_is_wrong(self, tmp_path: Path, text: str, message: str) -> None:
        assert message in refused(write(tmp_path, text, 3))

    def test_missing_file_is_named_with_its_line(self, tmp_path: Path) -> None:
        message = refused(write(tmp_path, "path,label\n0.png,a\n\nno/such.png,b\n", 1))
        assert re.search(r"such\.png', on line 4 of .*pets\.csv', is no file \(1 of 2 are not there\)", message)

    def test_a_typing_error_of_a_label(self, tmp_path: Path) -> None:
        rows = "".join(f"{number}.png,{'giraffe' if number % 2 else 'lion'}\n" for number in range(20))
        message = refused(write(tmp_path, f"path,label\n{rows}20.png,girafe\n", 21))
        assert "Class 'girafe' has a single image, on line 22" in message
        assert "did you mean 'giraffe', which has 10?" in message

    def test_no_text(self, tmp_path: Path) -> None:
        table = tmp_path / "pets.csv"
        table.write_bytes(b"path,label\n\x00\x01.png,a\n")
        assert "cannot be read as a CSV file" in refused(table)
        table.write_bytes(b"path,label\n" + b"x" * 200_000 + b",a\n")
        assert "cannot be read as a CSV file" in refused(table)

    def test_unreadable_table(self, tmp_path: Path) -> None:
        (tmp_path / "pets.csv").mkdir()
        with pytest.raises(DataError, match="0 class folder"):
            load_data(tmp_path / "pets.csv")

    def test_the_path_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        assert "sub', on line 2" in refused(write(tmp_path, "path,label\nsub,a\n0.png,b\n", 1))

    def test_damaged_images_are_named(self, tmp_path: Path) -> None:
        table = write(tmp_path, "path,label\n0.png,a\n1.png,b\n", 1)
        (tmp_path / "1.png").write_text("no image")
        with pytest.raises(DataError, match=r"1\.png' is damaged or no image \(its content is not that of an image\)"):
            load_data(table)

    def test_only_training_rows_matter_to_load_data(self, tmp_path: Path) -> None:
        table = write(tmp_path, "path,label,split\n0.png,a,train\n1.png,b,train\nmissing.png,c,test\n", 2)
        assert np.array_equal(load_data(table).labels, [0, 1])
