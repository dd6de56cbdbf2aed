"""The local page: what it refuses, what it may touch, its fits, and all of it in a browser."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Browser, wait_for
from PIL import Image

from trainless.errors import DataError, InputError
from trainless.ui.charts import bars, candidate_scatter, confusion_table, training_curve
from trainless.ui.form import FitForm
from trainless.ui.jobs import Job
from trainless.ui.previews import classify_image, preview_data
from trainless.ui.request_guard import RequestGuard, refusal
from trainless.ui.session import Session
from trainless.ui.uploads import Allowance, unpack
from trainless.ui.workspace import Workspace, check_source

TINY = FitForm(max_params="8k", epochs="3", evaluations="12")


def png(value: int = 90, size: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("L", (size, size), value).save(file, "PNG")
    return file.getvalue()


def class_folders(root: Path, images: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(images):
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "data").mkdir()
    return Workspace(tmp_path / "data", tmp_path / "out")


class TestGuard:
    @pytest.mark.parametrize(
        "headers",
        [
            {"host": "evil.example"},
            {"host": "evil.example:8080"},
            {"host": "127.0.0.1:9090"},
            {"host": "127.0.0.1"},
            {},
            {"host": "127.0.0.1:8080, evil.example"},
            {"host": "127.0.0.1:8080", "origin": "http://evil.example"},
            {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:9090"},
            {"host": "127.0.0.1:8080", "origin": "https://127.0.0.1:8080"},
            {"host": "127.0.0.1:8080", "origin": "null"},
            {"host": "127.0.0.1:8080", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
            {"host": "127.0.0.1:8080", "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
        ],
    )
    def test_foreign_pages_are_refused(self, headers: dict[str, str]) -> None:
        assert "open http://127.0.0.1:8080." in refusal(headers, 8080)

    @pytest.mark.parametrize(
        "headers",
        [
            {"host": "127.0.0.1:8080"},
            {"host": "localhost:8080", "origin": "http://localhost:8080"},
            {"host": "127.0.0.1:8080", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
            {"host": "127.0.0.1:8080", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        ],
    )
    def test_its_own_page_is_not(self, headers: dict[str, str]) -> None:
        assert refusal(headers, 8080) == ""

    def test_a_foreign_websocket_is_closed(self) -> None:
        sent = self.asked("websocket", [(b"host", b"127.0.0.1:8080"), (b"origin", b"http://evil.example")])
        assert [each["type"] for each in sent] == ["websocket.close"]

    def test_two_hosts_are_none(self) -> None:
        sent = self.asked("http", [(b"host", b"127.0.0.1:8080"), (b"host", b"evil.example")])
        assert sent[0]["status"] == 403

    def test_what_is_announced_too_large_is_refused(self) -> None:
        sent = self.asked("http", [(b"host", b"127.0.0.1:8080"), (b"content-length", b"11")])
        assert sent[0]["status"] == 413
        assert b"most that can be uploaded" in sent[1]["body"]

    def test_what_is_too_large_unannounced_is_refused(self) -> None:
        sent = self.asked("http", [(b"host", b"127.0.0.1:8080")], [b"123456", b"789012"])
        assert sent[0]["status"] == 413

    def test_what_is_right_is_answered_and_cannot_be_framed(self) -> None:
        sent = self.asked("http", [(b"host", b"127.0.0.1:8080"), (b"content-length", b"6")], [b"123456"])
        assert sent[0]["status"] == 200
        assert dict(sent[0]["headers"])[b"x-frame-options"] == b"DENY"
        assert b"default-src 'self'" in dict(sent[0]["headers"])[b"content-security-policy"]

    @staticmethod
    def asked(kind: str, headers: list[tuple[bytes, bytes]], bodies: list[bytes] | None = None) -> list[Any]:
        sent: list[Any] = []
        waiting = [{"type": "http.request", "body": body, "more_body": True} for body in bodies or []]
        waiting.append({"type": "http.request", "body": b""})

        async def application(scope: Any, receive: Any, send: Any) -> None:
            while (await receive()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(RequestGuard(application, 8080, 10)({"type": kind, "headers": headers}, receive, send))
        return sent


class TestUploads:
    @staticmethod
    def archive(entries: dict[str, bytes], **attributes: int) -> io.BytesIO:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, content in entries.items():
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                for attribute, value in attributes.items():
                    setattr(info, attribute, value)
                opened.writestr(info, content)
        return file

    def refused(self, archive: Any, folder: Path, match: str, allowance: Allowance | None = None) -> None:
        with pytest.raises(DataError, match=match):
            unpack(archive, "pets.zip", folder, allowance)
        assert list(folder.iterdir()) == []

    def test_images_and_tables_are_unpacked_and_nothing_else(self, tmp_path: Path) -> None:
        entries = {"pets/cat/1.png": png(), "pets/dog/2.JPG": b"..", "pets/network.py": b"import os",
                   "pets/fit.json": b"{}", "__MACOSX/pets/cat/._1.png": b"..", "pets/.hidden/3.png": b"..",
                   "pets/cat/4.CR2": b".."}  # fmt: skip
        found = unpack(self.archive(entries), "my pets!.zip", tmp_path)
        assert found == tmp_path / "my-pets" / "pets"
        names = {path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()}
        assert names == {"cat/1.png", "dog/2.JPG", "cat/4.CR2"}  # of the last the audit tells
        assert unpack(self.archive(entries), "my pets!.zip", tmp_path).parent.name == "my-pets-2"

    def test_a_table_is_found(self, tmp_path: Path) -> None:
        entries = {"pets/all.csv": b"path,label\n", "pets/1.png": png()}
        assert unpack(self.archive(entries), "a.zip", tmp_path) == tmp_path / "a" / "pets" / "all.csv"

    @pytest.mark.parametrize(
        "name", ["../1.png", "a/../../1.png", "/tmp/1.png", "C:\\1.png", "..\\1.png", "a/" + "b" * 300 + ".png"]
    )
    def test_paths_that_leave(self, name: str, tmp_path: Path) -> None:
        self.refused(self.archive({"cat/0.png": png(), name: png()}), tmp_path, "a path that leaves it")

    def test_links(self, tmp_path: Path) -> None:
        link = self.archive({"cat/1.png": b"/etc/passwd"}, create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16)
        self.refused(link, tmp_path, "a link to another place")

    def test_bombs(self, tmp_path: Path) -> None:
        allowance = Allowance(unpacked=10_000, files=10)
        self.refused(self.archive({"cat/1.png": bytes(20_000)}), tmp_path, "larger than 0 MiB when unpacked", allowance)
        many = self.archive({f"cat/{number}.png": b"" for number in range(11)})
        self.refused(many, tmp_path, "holds 11 files, but at most 10", allowance)

    def test_a_bomb_that_lies_about_its_size(self, tmp_path: Path) -> None:
        honest = self.archive({"cat/1.png": bytes(200_000)}).getvalue()
        size = (200_000).to_bytes(4, "little")
        assert honest.count(size) == 2  # before the file and in the directory
        lying = io.BytesIO(honest.replace(size, (100).to_bytes(4, "little")))
        self.refused(lying, tmp_path, "cannot be unpacked", Allowance(unpacked=10_000))

    @pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 and so on"])
    def test_what_is_no_archive(self, content: bytes, tmp_path: Path) -> None:
        self.refused(io.BytesIO(content), tmp_path, "'pets.zip' cannot be unpacked .*: give a zip archive")

    def test_nothing_of_use(self, tmp_path: Path) -> None:
        self.refused(self.archive({"cat/readme.txt": b"hello"}), tmp_path, "holds no images")
        secret = bytearray(self.archive({"cat/1.png": png()}).getvalue())
        for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            secret[secret.index(mark) + place] |= 1
        self.refused(io.BytesIO(secret), tmp_path, "is encrypted")


class TestPlaces:
    @pytest.mark.parametrize("name", ["data:..", "data:../out", "data:/etc", "upload:../x", "data:a\0b", "etc", ""])
    def test_paths_that_leave(self, name: str, workspace: Workspace) -> None:
        with pytest.raises(InputError, match=r"is not beneath|names no data"):
            workspace.source(name)

    def test_links_that_leave(self, workspace: Workspace, tmp_path: Path) -> None:
        class_folders(tmp_path / "secret")
        (workspace.data / "link").symlink_to(tmp_path / "secret")
        with pytest.raises(InputError, match="is not beneath"):
            workspace.source("data:link")
        pets = class_folders(workspace.data / "pets")
        (pets / "cat" / "other.png").symlink_to(tmp_path / "secret" / "cat" / "1.png")
        (pets / "bird").symlink_to(tmp_path / "secret" / "cat")
        check_source(workspace.source("data:pets"), workspace.data)
        found = preview_data(workspace, FitForm(data="data:pets"))
        assert (found["classes"], found["images"]) == (2, 24)
        assert dict(found["rows"])["left out"] == "2 link(s) that lead outside of the folder: bird, cat/other.png"

    def test_collections_of_links_that_leave(self, workspace: Workspace, tmp_path: Path) -> None:
        class_folders(tmp_path / "secret")
        for name in ("cat", "dog"):
            (workspace.data / "links").mkdir(exist_ok=True)
            (workspace.data / "links" / name).symlink_to(tmp_path / "secret" / name)
        with pytest.raises(DataError, match=r"'.*.png' of 'links' lies outside the folder"):
            check_source(workspace.source("data:links"), workspace.data)
        assert "lies outside" in preview_data(workspace, FitForm(data="data:links"))["error"]

    def test_tables_that_leave(self, workspace: Workspace, tmp_path: Path) -> None:
        class_folders(tmp_path / "secret")
        rows = [f"../secret/{name}/{number}.png,{name}" for name in ("cat", "dog") for number in range(9)]
        (workspace.data / "pets.csv").write_text("path,label\n" + "\n".join(rows))
        assert "lies outside the folder" in preview_data(workspace, FitForm(data="data:pets.csv"))["error"]

    def test_what_looks_like_data(self, workspace: Workspace) -> None:
        class_folders(workspace.data / "more" / "pets")
        (workspace.data / "table.csv").touch()
        (workspace.data / ".hidden").mkdir()
        (workspace.data / "empty").mkdir()
        assert set(workspace.found()) == {"digits", "data:more/pets", "data:table.csv"}
        assert set(Workspace(workspace.data / "more" / "pets", workspace.out).found()) == {"digits", "data:."}

    def test_runs(self, workspace: Workspace, tmp_path: Path) -> None:
        folder = workspace.new_run("data:more/pets.csv")
        assert folder.name == "pets-1"
        assert workspace.new_run("data:more/pets.csv").name == "pets-2"
        assert workspace.runs() == []
        (folder / "order.json").write_text(json.dumps(TINY.document()))
        (folder / "fit.json").write_text("[1]")
        assert [(summary.name, summary.facts) for summary in workspace.runs()] == [("pets-1", {})]
        assert FitForm.read(workspace.summary("pets-1").form) == TINY
        (folder / "fit.json").write_text('{"test_accuracy": "<b>"}')
        assert workspace.runs() == []
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "order.json").write_text("{}")
        (workspace.out / "link").symlink_to(tmp_path / "elsewhere")
        assert workspace.runs() == []

    def test_files(self, workspace: Workspace, tmp_path: Path) -> None:
        folder = workspace.new_run("digits")
        for name in ("model.onnx", "search.db"):
            (folder / name).write_bytes(b"..")
        assert workspace.file("digits-1", "model.onnx") == folder / "model.onnx"
        for run, name in (
            ("digits-1", "search.db"), ("digits-1", "network.py"), ("digits-1", "../digits-1/model.onnx"),
            ("..", "model.onnx"), ("../out/digits-1", "model.onnx"), ("nothing", "model.onnx"),
        ):  # fmt: skip
            with pytest.raises(InputError, match=r"has no|is not beneath|There is no run"):
                workspace.file(run, name)
        (tmp_path / "elsewhere").write_text("secret")
        (folder / "network.py").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match="is not beneath"):
            workspace.file("digits-1", "network.py")


class TestPreviews:
    def test_bad_data_is_one_sentence(self, workspace: Workspace) -> None:
        (workspace.data / "one" / "cat").mkdir(parents=True)
        error = preview_data(workspace, FitForm(data="data:one"))["error"]
        assert "at least 2 classes are needed" in error
        assert "\n" not in error
        assert preview_data(workspace, FitForm(data="data:nothing"))["error"].startswith("There is no 'nothing'")

    def test_pictures_of_each_class(self, workspace: Workspace) -> None:
        class_folders(workspace.data / "pets")
        found = preview_data(workspace, FitForm(data="data:pets"))
        assert (found["classes"], found["images"]) == (2, 24)
        assert [name for name, _ in found["examples"]] == ["cat", "dog"]

    def test_classification_without_a_run(self, workspace: Workspace) -> None:
        workspace.new_run("digits")
        assert (
            "is no folder that `trainless fit` wrote"
            in classify_image(workspace, "digits-1", "cat.png", png())["error"]
        )


class TestForms:
    @pytest.mark.parametrize(
        ("changed", "match"),
        [
            ({"time": "soon"}, "The time is 'soon'"),
            ({"time": ""}, "The time is ''"),
            ({"max_params": "0"}, "The limit on parameters is '0'"),
            ({"max_latency": "5"}, "The limit on latency is '5'"),
            ({"epochs": "0"}, "The number of epochs is '0'"),
            ({"seed": "-1"}, "The seed is '-1'"),
            ({"resize": "zoom"}, "no resize 'zoom'"),
            ({"image_size": "3.5"}, "The image size is '3.5'"),
        ],
    )
    def test_what_cannot_be_used(self, changed: dict[str, str], match: str) -> None:
        with pytest.raises(InputError, match=match):
            FitForm(**changed).plan()

    def test_a_plan(self) -> None:
        plan = FitForm(time="90s", max_params="20k", measure="macro-f1", seed="3", image_size="16").plan()
        assert (plan.time, plan.limits.most["params"], plan.measure, plan.seed, plan.image_size) == (
            90,
            2e4,
            "macro-f1",
            3,
            16,
        )
        assert (plan.resize, plan.mirror_average) == (None, False)
        plan = FitForm(resize="crop", mirror_average="yes").plan()
        assert (plan.resize, plan.mirror_average) == ("crop", True)
        assert TINY.plan().epochs == 3
        assert TINY.plan().evaluations == 12

    def test_a_command(self) -> None:
        command = FitForm(time="90s", max_params="20k").command("my pets", "run")
        assert command.startswith("trainless fit 'my pets' --out run --max-params 20k")
        assert command.endswith("--time 90s")
        command = FitForm(resize="pad", mirror_average="yes").command("my pets", "run")
        assert "--resize pad" in command
        assert command.endswith("--mirror-average")


class TestCharts:
    def test_names_are_no_markup(self) -> None:
        evil = "<img src=x onerror=alert(1)>"
        rows = [{"order": 1, "architecture": evil, "score": 1.0, "flops": 10, "parameters": 5}]
        for made in (confusion_table([[1, 0], [0, 1]], [evil, "b"]), bars([(evil, 1.0)]), candidate_scatter(rows)):
            assert "<img" not in made
            assert "&lt;img" in made

    def test_one_point_for_each_candidate_with_a_score(self) -> None:
        rows: list[dict[str, Any]] = [
            {"order": n, "architecture": "a", "score": None if n == 3 else 1.0 / n, "flops": 10**n, "parameters": n}
            for n in range(1, 5)
        ]
        made = candidate_scatter(rows)
        assert (made.count('class="best"'), made.count('class="point"')) == (1, 2)

    def test_a_curve_of_what_is_not_finite(self) -> None:
        assert "nan" not in training_curve({"valid_accuracies": [float("nan"), 50.0, 50.0]})


@pytest.mark.slow
class TestJobs:
    def test_what_is_refused_is_one_sentence_and_leaves_nothing(self, workspace: Workspace) -> None:
        session = Session(Workspace(workspace.data.resolve(), workspace.out.resolve()))
        session.form = FitForm(max_params="10", epochs="1")
        job = session.start()
        assert job.wait(300)
        assert job.outcome == "refused"
        assert "within the limits (params at most 10)" in job.text
        assert list(workspace.out.iterdir()) == []

    def test_one_at_a_time_and_stopped_in_the_training_it_keeps_the_best(self, workspace: Workspace) -> None:
        session = Session(workspace)
        session.form = FitForm(max_params="8k", epochs="500", evaluations="8")
        job = session.start()
        with pytest.raises(InputError, match="A fit is running"):
            session.start()
        wait_for(lambda: len(job.curve["valid_accuracies"]) > 1 or not job.is_running, "an epoch")
        session.close()
        assert job.outcome == "done", job.text
        facts = workspace.summary(job.run).facts
        assert 0 < facts["epochs"] < 500
        assert any("ended after" in note for note in facts["notes"])
        assert len(facts["valid_accuracies"]) == facts["epochs"]
        assert sum(map(sum, facts["confusion"])) == facts["test_images"]
        assert len(job.candidates) == 8
        assert [row["score"] for row in job.candidates] == sorted((r["score"] for r in job.candidates), reverse=True)
        assert all(row["parameters"] <= 8000 for row in job.candidates)
        found = classify_image(workspace, job.run, "cat.png", png())
        assert sum(probability for _, probability in found["probabilities"]) == pytest.approx(1)
        assert "'cat.png' is damaged or no image" in classify_image(workspace, job.run, "cat.png", b"no image")["error"]

    def test_killed_it_says_so(self, workspace: Workspace) -> None:
        job = Job(workspace, TINY, workspace.new_run("digits").name)
        job._process.kill()
        assert job.wait(60)
        assert job.outcome == "failed"
        assert "signal 9" in job.text

    def test_it_ends_with_the_page_that_started_it(self, workspace: Workspace) -> None:
        job = Job(workspace, FitForm(epochs="500", evaluations="5000"), workspace.new_run("digits").name)
        wait_for(lambda: job.stage, "its first word")
        assert job._process.stdin
        job._process.stdin.close()  # as the end of the page's process does
        assert job.wait(120)
        assert job.outcome == "stopped"


class TestCommand:
    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)

    def test_without_the_extra(self) -> None:
        code = ("import sys; sys.modules['nicegui'] = None; sys.argv = ['trainless', 'ui', '--no-browser']\n"
                "from trainless.cli import main; main()")  # fmt: skip
        done = self.run("-c", code)
        assert done.returncode == 2
        assert "pip install 'trainless[ui]'" in done.stderr
        assert done.stderr.count("\n") == 1

    @pytest.mark.slow
    def test_folders_and_ports(self, tmp_path: Path) -> None:
        done = self.run("-m", "trainless.cli", "ui", "--data", str(tmp_path / "no"), "--out", str(tmp_path / "out"))
        assert (done.returncode, done.stdout) == (2, "")
        assert "is no folder" in done.stderr
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            done = self.run(
                "-m", "trainless.cli", "ui", "--data", str(tmp_path), "--out", str(tmp_path), "--port", port
            )
        assert done.returncode == 2
        assert "cannot be listened to" in done.stderr


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server of the real command, and its folder of runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("data", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "one" / "cat").mkdir(parents=True)
    (tmp_path / "data" / "one.csv").write_text("path,label\nnothing.png,cat\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    command = [sys.executable, "-m", "trainless.cli", "ui", "--data", str(tmp_path / "data"), "--out",
               str(tmp_path / "out"), "--port", str(port), "--no-browser"]  # fmt: skip
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path / "elsewhere", env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: _listens(port) or server.poll() is not None, "the server")
        yield f"http://127.0.0.1:{port}", tmp_path / "out"
        server.send_signal(signal.SIGINT)
        assert server.wait(120) == 0
        assert "Traceback" not in (tmp_path / "server.log").read_text()
        assert list((tmp_path / "elsewhere").iterdir()) == []  # it wrote nothing where it was started
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_from_images_to_a_network_in_a_browser(served: tuple[str, Path], tmp_path: Path) -> None:
    address, out = served
    downloads = tmp_path / "downloads"
    with Browser(tmp_path, downloads) as browser:
        browser.size(1200)
        browser.open(address)
        browser.see("1,797: train 1,078, valid 360, test 359")  # the audit, before anything is spent
        browser.photograph(tmp_path / "choosing.png")
        browser.click("More")
        browser.type(".epochs input", "few")
        browser.type(".evaluations input", "400")  # many: a browser may be slow to say stop
        browser.type(".max_params input", "8k")
        browser.click("Find a network")
        browser.see("The number of epochs is 'few', expected a whole number of at least 1.")
        browser.type(".epochs input", "3")

        # Stopped in the search, it can go on.
        browser.click("Find a network")
        browser.see("Architectures are being scored")
        wait_for(lambda: browser.run("document.querySelectorAll('circle').length"), "a candidate")
        browser.click("Stop")
        browser.photograph(tmp_path / "stopping.png")
        browser.see("It was stopped before there was a network")
        browser.click("Go on")
        browser.see("test images are recognised")
        browser.photograph(tmp_path / "result.png")
        facts = json.loads((out / "digits-1" / "fit.json").read_text())
        browser.see(f"{100 * facts['test_accuracy']:.2f} %")

        picture = tmp_path / "seven.png"
        picture.write_bytes(png(size=40))
        browser.give(".upload.picture input[type=file]", picture)
        browser.see("as the network sees it")
        (tmp_path / "note.png").write_text("no image")
        browser.give(".upload.picture input[type=file]", tmp_path / "note.png")
        browser.see("'note.png' is damaged or no image")
        browser.click("ONNX")
        wait_for(lambda: (downloads / "model.onnx").is_file(), "the download")
        assert (downloads / "model.onnx").read_bytes() == (out / "digits-1" / "model.onnx").read_bytes()

        # On a phone, in the dark, after a reload: what was typed is still there, bad data is told.
        browser.size(390)
        browser.dark(True)
        browser.open(address)
        browser.see("Earlier runs")
        wait_for(lambda: browser.run("document.querySelector('.max_params input')?.value") == "8k", "what was typed")
        assert browser.run("document.documentElement.scrollWidth <= 390")
        archive = tmp_path / "pets.zip"
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("cat/1.png", png())
        browser.click("Upload a zip archive instead")
        browser.give(".upload.archive input[type=file]", archive)
        browser.see("at least 2 classes are needed")
        browser.photograph(tmp_path / "refused.png")
        browser.click("Open")
        browser.see("Take it along")
        assert browser.run("document.documentElement.scrollWidth <= 390")
        browser.photograph(tmp_path / "phone.png")
        assert browser.problems == []
        # Nothing was loaded from anywhere else.
        assert {url for url in browser.requests if not url.startswith((address, "data:", "blob:", "about:"))} == set()
