"""Tables of paths and labels: what is read, and one sentence for all that is wrong."""

from __future__ import annotations

import re
import unicodedata
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

    @pytest.mark.parametrize(
        ("encoding", "is_told"),
        [("utf-8", False), ("utf-8-sig", False), ("utf-16", False), ("cp1252", True), ("latin-1", True)],
    )
    def test_encodings(self, encoding: str, is_told: bool, tmp_path: Path) -> None:
        table = write(tmp_path, "path;label\n0.png;Bär\n1.png;Käfer\n", 2, encoding)
        listing = list_csv(table)
        assert listing.class_names == ("Bär", "Käfer")
        assert [remark.startswith("'pets.csv' is no UTF-8") for remark in listing.remarks] == [True] * is_told

    @pytest.mark.parametrize(
        "header",
        ["filename,class", "File Name,Class-Name", "image_id,category", "img_path,target", "IMAGE,label,class,notes",
         "path,label,filename", "id,label", "img,breed", "image_path,species,width", "filename,class,species,id"],
    )  # fmt: skip
    def test_other_names_of_columns(self, header: str, tmp_path: Path) -> None:
        more = "," * (header.count(",") - 1)
        listing = list_csv(write(tmp_path, f"{header}\n0.png,a{more}\n1.png,b{more}\n", 2))
        assert (listing.class_names, listing.labels.tolist()) == (("a", "b"), [0, 1])

    def test_tab_separated_with_a_line_for_spreadsheets(self, tmp_path: Path) -> None:
        table = write(tmp_path, "sep=\t\n\nfilename\tclass\n0.png\tb, c\n\t\n1.png\ta\n", 2).rename(
            tmp_path / "pets.TSV"
        )
        assert load_data(table).class_names == ("a", "b, c")
        table.write_text("sep=\t\nfilename\tclass\n0.png\ta\nno.png\tb\n")
        assert "no.png', on line 4" in refused(table)

    def test_paths_of_other_systems(self, tmp_path: Path) -> None:
        names = ["cat/1.png", "cat/one.JPG", "dog/Käfer.png", "dog/2.png"]
        for number, name in enumerate(names):
            save(tmp_path / name, number)
        save(tmp_path / "dog" / "with\\backslash.png", 9)
        cells = ["cat\\1.png", ".\\cat\\one", unicodedata.normalize("NFD", "dog/Käfer.png"), "dog/2",
                 "dog/with\\backslash.png"]  # fmt: skip
        table = write(tmp_path, "path,label\n" + "".join(f"{cell},{n % 2}\n" for n, cell in enumerate(cells)))
        found = [path.relative_to(tmp_path).as_posix() for path in list_csv(table).paths]
        assert found == [*names, "dog/with\\backslash.png"]

    def test_numbers_are_sorted_as_such(self, tmp_path: Path) -> None:
        table = write(tmp_path, "path,label\n" + "".join(f"{n}.png,{n}\n" for n in range(12)), 12)
        assert list_csv(table).class_names == tuple(map(str, range(12)))

    def test_parts_by_any_name(self, tmp_path: Path) -> None:
        parts = ["TRAIN", "Training set", "dev", "eval", "train"]
        rows = "".join(f"{n}.png,{'ab'[n % 2]},{part}\n" for n, part in enumerate(parts))
        listing = list_csv(write(tmp_path, "path,label,Subset\n" + rows, 5))
        assert listing.parts == ("train", "train", "valid", "test", "train")

    def test_a_column_that_only_sounds_like_parts_is_ignored(self, tmp_path: Path) -> None:
        listing = list_csv(write(tmp_path, "path,label,set\n0.png,a,winter\n1.png,b,\n", 2))
        assert listing.only_train

    def test_what_is_left_out(self, tmp_path: Path) -> None:
        table = write(tmp_path, "path,label\n0.png,a\n1.png,b\n2.svg,b\ngone.png,a\n", 2)
        (tmp_path / "2.svg").touch()
        (tmp_path / "gone.png").symlink_to("nowhere")
        listing = list_csv(table)
        assert [path.name for path in listing.paths] == ["0.png", "1.png"]
        assert [path for path, _ in listing.left_out] == ["2.svg", "gone.png"]

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


class TestTasks:
    @pytest.mark.parametrize(
        ("labels", "told"),
        [
            (["a;b", "c"], "'a;b' on line 2 of"),
            (["c", "a|b"], "names several classes (a, b), so the task is taken for multi-label classification"),
            (["['cat', 'dog']", "['cat']"], "names several classes (cat, dog)"),
            (['"cat, dog"', "cat", '"dog, mouse"', "mouse"], "names several classes (cat, dog)"),
            (["cat", '"cat,dog"', "cat"], "'cat,dog' on line 3 of"),
            (["cat", '"cat, dog"', '"cat, dog, mouse"', '"tench, Tinca tinca"'], "names several classes (cat, dog)"),
            (["nan", "0.143", "2", "-Inf", "NaN"], "such as '0.143' on line 3, so the task is taken for regression"),
            (["", "0.5"], "such as '0.5' on line 3, so the task is taken for regression"),
            (["1", "2.5"], "such as '2.5' on line 3, so the task is taken for regression"),
            (["0,5", "-1e-3"], "are numbers, such as '0,5' on line 2, so the task is taken for regression"),
        ],
    )
    def test_others_are_refused(self, labels: list[str], told: str, tmp_path: Path) -> None:
        rows = "".join(f"{number}.png\t{label}\n" for number, label in enumerate(labels))
        assert told in refused(write(tmp_path, "path\tlabel\n" + rows, len(labels)))

    @pytest.mark.parametrize(
        "labels",
        [
            ["1", "2", "30"],
            ["1.0", "2.0"],
            ["0.5", "large"],
            ["1", "nan"],
            ["car, sedan", "truck, pickup", "bicycle"],
            ["tench, Tinca tinca", "goldfish, Carassius auratus", "tench"],
            ["black & white", "colour/bright", "red-green (mixed)"],
            ["a;, b", "c"],
        ],
    )
    def test_names_are_classes(self, labels: list[str], tmp_path: Path) -> None:
        rows = "".join(f"{number}.png\t{label}\n" for number, label in enumerate(labels))
        assert set(list_csv(write(tmp_path, "path\tlabel\n" + rows, len(labels))).class_names) == set(labels)

    def test_boxes(self, tmp_path: Path) -> None:
        table = write(tmp_path, "filename,class,xmin\n0.png,a,1\n1.png,b,2\n0.png,b,3\n", 2)
        assert "there is a column 'xmin', so the task is taken for object detection" in refused(table)


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "has the columns none, but one 'path', one 'label'"),
            ("path,label\n", "lists no images: add rows below its header."),
            ("file,labels\n0.png,a\n", "has the columns 'file', 'labels', but one 'path'"),
            ("path,labels\n0.png,a\n", "(is 'labels' the label?): name them so"),
            ("path,class,category\n0.png,a,b\n", "(is 'class' the label?): name them so"),
            ("image,race\n0.png,a\n", "has the columns 'image', 'race', but one 'path', one 'label'"),
            (
                "image,race\n0.png,a\n",
                "(as 'label', class, classname, class_name, class_label, category, target, breed",
            ),
            ("foo,label\n0.png,a\n", "(as 'path', file, filename, "),
            ("path,breed,species\n0.png,a,b\n", "(is 'breed' the label?)"),
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
