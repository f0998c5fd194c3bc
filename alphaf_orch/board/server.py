"""The board as a web application on 127.0.0.1: what it is asked for is looked up in the runs folder, nothing kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import quote

import jinja2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from alphaf_orch.board import names
from alphaf_orch.board.access import PAGE, REPORT, App, Guard, Token
from alphaf_orch.board.pages import pages_of, read_page
from alphaf_orch.board.payload import curve_json, encoded, everything, moving
from alphaf_orch.board.state import Folder, Snapshot
from alphaf_orch.core import stop
from alphaf_orch.core.called import as_called
from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.paths import RunPaths, find_template, template_folders
from alphaf_orch.core.wording import LANGUAGES, in_language
from alphaf_orch.core.yaml_files import read_text
from alphaf_orch.report.html import both

# Between two looks while a page is open; what is older than a second and a half is not shown without a new look. A
# page asks each second, a hidden one less often.
_LOOK_S, _OLD_S, _AWAY_S = 0.4, 1.5, 5.0
_MOST_BODY = 4096
_STATIC = {"/board.css": "text/css; charset=utf-8", "/board.js": "text/javascript; charset=utf-8"}


class Board:
    """One board: its token, what it may do, and the folder that it looks at."""

    def __init__(self, token: Token, *, control: bool) -> None:
        self.token, self._control = token, control
        self._folder = Folder()
        self._turn = threading.Lock()
        self._last: tuple[float, Snapshot] | None = None
        self._looking: threading.Thread | None = None
        self._wanted = 0.0
        self._told: tuple[object, tuple[bytes, str]] | None = None

    def look(self) -> Snapshot:
        """Return what is there now, or was a moment ago: nobody waits for a look while a page is open."""
        with self._turn:
            now = self._wanted = time.monotonic()
            found = self._last
            if found is None or now - found[0] > _OLD_S:
                found = self._last = (now, self._folder.look())
            if self._looking is None or not self._looking.is_alive():
                self._looking = threading.Thread(target=self._look_on, name="looks at the runs", daemon=True)
                self._looking.start()
        return found[1]

    def _look_on(self) -> None:
        while time.monotonic() - self._wanted < _AWAY_S:
            time.sleep(_LOOK_S)
            self._last = (time.monotonic(), self._folder.look())

    def read_all(self, within_s: float) -> None:
        """Read every run there is, as far as the time allows: the first page is whole then."""
        until = time.monotonic() + within_s
        while any(run.state == "unread" for run in self._folder.look().runs) and time.monotonic() < until:
            pass

    @cached_property
    def app(self) -> App:
        """The application, guarded."""
        routes = [
            Route("/", self._page),
            *(Route(path, self._static) for path in _STATIC),
            Route("/api/state", self._state),
            Route("/api/live", self._live),
            Route("/api/curve", self._curve),
            Route("/api/log", self._log),
            Route(f"{PAGE}{{ticket}}/{{name:path}}", self._report),
        ]
        if self._control:
            routes.append(Route("/api/stop", self._stop, methods=["POST"]))
        inner = Starlette(routes=routes, exception_handlers={AlphafError: _error})
        return Guard(inner, self.token, _STATIC, self._html(locked=True).encode(), post=self._control)

    def _html(self, *, locked: bool) -> str:
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters["both"] = both
        words = {
            kind: {name: {each: in_language(text, each) for each in LANGUAGES} for name, text in texts.items()}
            for kind, texts in names.spoken().items()
        }
        template = environment.from_string(_template("board.html.jinja"))
        return template.render(
            title=in_language(names.TITLE, "en"), heading=names.TITLE, words=names.WORDS, control=self._control,
            locked=locked, spoken=json.dumps(words, ensure_ascii=False),
        )  # fmt: skip

    def _page(self, _: Request) -> Response:
        return Response(self._html(locked=False), media_type="text/html; charset=utf-8")

    def _static(self, request: Request) -> Response:
        path = request.url.path
        return Response(_template(path.lstrip("/")), headers={"content-type": _STATIC[path]})

    def _href(self, page: str) -> str:
        return f"{PAGE}{self.token.ticket(page)}/{quote(page)}"

    def _state(self, request: Request) -> Response:
        return _answer(request, *self._everything(self.look()))

    def _live(self, request: Request) -> Response:
        snapshot = self.look()
        _, version = self._everything(snapshot)
        return _answer(request, *encoded(moving(snapshot, version)))

    def _everything(self, snapshot: Snapshot) -> tuple[bytes, str]:
        """Return what is told of the whole folder; most looks find it as the one before."""
        before = self._told
        same = (snapshot.runs, snapshot.experiments, snapshot.pages)
        if before is None or before[0] != same:
            before = self._told = (same, encoded(everything(snapshot, self._href)))
        return before[1]

    def _curve(self, request: Request) -> Response:
        asked = request.query_params
        found = self._folder.curve(asked.get("run", ""), asked.get("stage", ""), asked.get("at", ""))
        return JSONResponse(curve_json(found)) if found else _unknown()

    def _log(self, request: Request) -> Response:
        asked = request.query_params
        found = self._folder.log(asked.get("run", ""), asked.get("stage", ""))
        return _unknown() if found is None else _answer(request, *encoded(list(found)))

    def _report(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not self.token.opens(request.path_params["ticket"], name):
            return PlainTextResponse("this address opens no report; the board's page has the right ones\n", 403)
        place = pages_of(self.look()).get(name)
        data = read_page(*place) if place else None
        if data is None:
            return _unknown()
        return Response(data, media_type="text/html; charset=utf-8", headers={"content-security-policy": REPORT})

    async def _stop(self, request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_BODY:
                return PlainTextResponse("too long\n", 413)
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            asked = None
        name = asked.get("run") if isinstance(asked, Mapping) else None
        run = self._folder.run(name) if isinstance(name, str) else None
        if run is None:
            return _unknown()
        if run.state != "working":
            return JSONResponse({"what": f"nobody works on {run.name}", "fix": ""}, 409)
        stop.wish(RunPaths(run.folder).stop_wish, "stop", "the board")
        return JSONResponse({"run": run.name})


def _answer(request: Request, data: bytes, mark: str) -> Response:
    tag = f'"{mark}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    return Response(data, media_type="application/json", headers={"etag": tag})


def _unknown() -> Response:
    return PlainTextResponse("there is no such thing here\n", 404)


async def _error(_: Request, error: Exception) -> Response:
    assert isinstance(error, AlphafError)
    return JSONResponse({"what": error.what, "fix": as_called(error.fix)}, 500)


def _template(name: str) -> str:
    return read_text(find_template(template_folders(), f"board/{name}"))
