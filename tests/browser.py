"""A headless Chromium, driven over the DevTools protocol: enough of it to test a page as its users see it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 180) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.1)
    return value


class Browser:
    """One window.

    Args:
        folder: for the browser's profile.
        downloads: where it puts what is downloaded.
    """

    def __init__(self, folder: Path, downloads: Path) -> None:
        from websockets.sync.client import connect

        assert CHROMIUM
        profile, self.requests, self.problems = folder / "profile", list[str](), list[str]()
        self._process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
             "--disable-background-networking", "--no-first-run", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        port = wait_for(lambda: self._port(profile), "the browser to start")
        self._connection = connect(f"ws://127.0.0.1:{port[0]}{port[1]}", max_size=2**27, open_timeout=60)
        self._socket = self._connection.__enter__()
        self._number, self._session = 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    @staticmethod
    def _port(profile: Path) -> list[str] | None:
        file = profile / "DevToolsActivePort"
        lines = file.read_text().split() if file.exists() else []
        return lines if len(lines) == 2 else None

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self._connection.__exit__(None, None, None)
        self._process.terminate()
        self._process.wait()

    def call(self, method: str, **parameters: Any) -> Any:
        """Ask the browser for something and give its answer; events that come before are noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith("Browser."):
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=120))
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer.get("method"), answer.get("params", {}))

    def _note(self, event: str | None, facts: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(facts["exceptionDetails"])[:500])
        elif event == "Log.entryAdded" and facts["entry"]["level"] == "error":
            self.problems.append(f"{facts['entry']['text']} {facts['entry'].get('url', '')}")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, (script, found["exceptionDetails"])
        return found["result"].get("value")

    def open(self, address: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=address)

    def size(self, width: int, height: int = 900) -> None:
        """Make the window as large as this."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def dark(self, is_dark: bool) -> None:
        """Prefer dark pages or light ones."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def text(self) -> str:
        """All that can be read."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def see(self, text: str, seconds: float = 180) -> None:
        """Wait until a text can be read."""
        wait_for(lambda: text in self.text(), f"to read '{text}' in: {self.text()[-1500:]}", seconds)

    def click(self, text: str, selector: str = "button, a, .q-expansion-item .q-item, .q-item") -> None:
        """Press what has this text, once it can be pressed."""
        name, choice = json.dumps(text), json.dumps(selector)
        find = (f"[...document.querySelectorAll({choice})].find(each => each.innerText.includes({name}) "
                "&& !each.disabled && each.getClientRects().length)")  # fmt: skip
        wait_for(lambda: self.run(f"Boolean({find})"), f"to press '{text}'")
        self.run(f"{find}.click()")

    def type(self, selector: str, text: str) -> None:
        """Write into a field in place of what is there."""
        wait_for(lambda: self.run(f"Boolean(document.querySelector({json.dumps(selector)}))"), selector)
        self.run(
            f"(field => {{ field.focus(); Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')"
            f".set.call(field, {json.dumps(text)}); field.dispatchEvent(new Event('input', {{bubbles: true}})); "
            f"field.blur(); }})(document.querySelector({json.dumps(selector)}))"
        )

    def give(self, selector: str, file: Path) -> None:
        """Choose a file in a file field."""
        wait_for(lambda: self.run(f"Boolean(document.querySelector({json.dumps(selector)}))"), selector)
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def photograph(self, path: Path) -> None:
        """Write a picture of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
