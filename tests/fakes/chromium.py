"""A real Chromium, driven through its own protocol over two pipes: pages as seen, and what they ask for."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

NO_BROWSER = os.environ.get("ALPHAF_NO_BROWSER") == "1"  # read before every test's environment is cleared
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-default-apps", "--remote-debugging-pipe",
)  # fmt: skip
_PATIENCE_S = 180.0


@cache
def browser() -> str:
    """Return the browser; without one this fails, unless ALPHAF_NO_BROWSER=1 says that it is meant so."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    if NO_BROWSER:
        pytest.skip("ALPHAF_NO_BROWSER=1")
    pytest.fail(
        "no chromium to open a page in; install it (make browser), or set ALPHAF_NO_BROWSER=1 to leave these tests out"
    )


class Navigated(Exception):
    """The page was left while it was asked."""


class Chromium:
    """The browser as a context: `page` opens a tab."""

    def __init__(self, profile: Path, *flags: str) -> None:
        there, ours = os.pipe()
        ours_too, there_too = os.pipe()
        words = [browser(), *FLAGS, *flags, f"--user-data-dir={profile}"]
        # It reads from descriptor 3 and writes to 4; a plain sh knows no descriptor of two digits.
        argv = ["bash", "-c", f'exec "$@" 3<&{there} 4>&{there_too} 2>/dev/null', "chromium", *words]
        self._process = subprocess.Popen(argv, pass_fds=(there, there_too), stdout=subprocess.DEVNULL)
        os.close(there)
        os.close(there_too)
        self._in, self._out = ours, ours_too
        self._read, self._number = b"", 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Return what the browser answers; what happens meanwhile stands in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        os.write(self._in, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        until = time.monotonic() + _PATIENCE_S
        while True:
            found = self._next(until)
            if found.get("id") == self._number:
                # -32000: the target navigated, or the script's context is gone with the page.
                if found.get("error", {}).get("code") == -32000 and method == "Runtime.evaluate":
                    raise Navigated(found["error"]["message"])
                assert "error" not in found, found
                return found["result"]
            self.events.append(found)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._out], [], [], max(0.0, until - time.monotonic()))
            data = os.read(self._out, 1 << 16) if ready else b""
            assert data, f"no answer from the browser (it ended with {self._process.poll()})"
            self._read += data
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def page(self) -> Page:
        """Return a new tab."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for name in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{name}.enable", session)
        return Page(self, session)


class Page:
    """One tab."""

    def __init__(self, chromium: Chromium, session: str) -> None:
        self._chromium, self._session = chromium, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return what the browser answers for this tab."""
        return self._chromium.call(method, self._session, **params)

    def open(self, address: str) -> None:
        """Go there."""
        self.call("Page.navigate", url=address)

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the page; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, within_s: float = 30.0, told: Callable[[], object] | None = None) -> Any:
        """Return the value once it is a true one."""
        until = time.monotonic() + within_s
        while True:
            try:
                value = self.ask(f"((found) => (found instanceof Node ? true : found))({expression})")
            except Navigated:
                value = None
            if value:
                return value
            if time.monotonic() > until:
                pytest.fail(f"not within {within_s} s: {expression}; the page: {self.text()[:2000]}{told and told()}")
            time.sleep(0.02)

    def text(self) -> str:
        """Return what a person reads."""
        return str(self.ask("document.body ? document.body.innerText : ''"))

    def requests(self) -> list[str]:
        """Return every address that this tab asked for."""
        self.ask("1")
        mine = [each for each in self._chromium.events if each.get("sessionId") == self._session]
        return [e["params"]["request"]["url"] for e in mine if e["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Return the errors that the browser's console has of this tab."""
        self.ask("1")
        mine = [each for each in self._chromium.events if each.get("sessionId") == self._session]
        logged = [e["params"]["entry"] for e in mine if e["method"] == "Log.entryAdded"]
        thrown = [e["params"]["exceptionDetails"]["text"] for e in mine if e["method"] == "Runtime.exceptionThrown"]
        return [each["text"] for each in logged if each["level"] == "error"] + thrown

    def size(self, width: int, height: int) -> None:
        """Give the window this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def printed(self) -> bytes:
        """Return the page as a PDF, as the browser's own print dialogue makes it."""
        import base64

        found = self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        return base64.b64decode(found["data"])

    def faults(self) -> list[str]:
        """Return the accessibility faults that axe-core calls serious or critical, each with where it is."""
        from importlib.resources import files

        self.ask(files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8") + "; undefined")
        # What is folded away is as much of the page as what is open.
        found = self.ask("axe.run(document, {resultTypes: ['violations']})")
        grave = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
        return [f"{each['id']}: {node['target']} {node['html'][:200]}" for each in grave for node in each["nodes"]]

    def picture(self, path: Path) -> None:
        """Write a picture of the whole page."""
        import base64

        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
