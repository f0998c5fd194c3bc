"""The page in a real browser: plots are drawn, data is never run, nothing leaves the machine, toggles work."""

from __future__ import annotations

import html
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import report_runs
from chromium import browser

from alphaf_orch.core.paths import runs_dir
from alphaf_orch.report.html import render_html
from alphaf_orch.report.run.content import report_of

HOSTILE = '<script>document.title="XSS"</script></script>"><img src=x onerror="document.title=\'XSS\'">'
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=5000",
)  # fmt: skip
# Put in behind the page's own scripts; it reports what the browser saw.
PROBE = """<script>
addEventListener("load", () => {
  const seen = {
    title: document.title,
    requests: performance.getEntriesByType("resource").map((each) => each.name),
    plots: document.querySelectorAll(".plot").length,
    drawn: document.querySelectorAll(".plot .main-svg .plot path, .plot .main-svg .points path").length,
    empty: [...document.querySelectorAll(".plot")].filter((each) => !each.querySelector("svg.main-svg")).length,
    images: [...document.images].filter((each) => !each.src.startsWith("data:")).length,
    labels: [...document.querySelectorAll(".plot .xtick text, .plot .ytick text")]
      .map((each) => each.textContent).join(" "),
    styles: [],
  };
  const look = () => ({
    lang: document.documentElement.lang,
    ground: getComputedStyle(document.body).backgroundColor,
    heading: document.querySelector("#curves h2").innerText,
    legend: document.querySelector(".plot .legendtext")?.textContent,
    tick: getComputedStyle(document.querySelector(".plot .xtick text")).fill,
    trace: getComputedStyle(document.querySelector("#curve-sft-loss + .plot .js-line")).stroke,
    open: document.querySelectorAll("details[open]").length,
  });
  seen.styles.push(look());
  document.getElementById("language").click();
  seen.styles.push(look());
  document.getElementById("theme").click();
  seen.styles.push(look());
  dispatchEvent(new Event("beforeprint"));
  seen.styles.push(look());
  dispatchEvent(new Event("afterprint"));
  seen.styles.push(look());
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  document.body.append(out);
});
</script></body>"""


def opened(page: Path, profile: Path, query: str = "") -> str:
    """Return the page's document after its scripts ran."""
    argv = [browser(), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri() + query]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def seen(page: Path, profile: Path, query: str = "") -> dict:
    found = re.search(r'<pre id="seen">(.*?)</pre>', opened(page, profile, query), re.DOTALL)
    assert found, "the probe did not run"
    return json.loads(html.unescape(found[1]))


@pytest.fixture
def hostile(tmp_path) -> Path:
    """The page of a run in which every text that comes from outside is hostile."""
    run = report_runs.make_run(
        runs_dir() / "나쁜-실행",
        licence=HOSTILE,
        data={"sft": [{"path": f"/home/kim/{HOSTILE}.jsonl", "kind": HOSTILE, "rows": 1, "sha256": HOSTILE}]},
        git_commit=HOSTILE,
    )
    report_runs.add_scores(run, ("base", "sft", "dpo"), n=40)
    for stage, share in (("base", 0), ("sft", 1)):
        samples = [
            report_runs.sample(f"{HOSTILE}{i}", share, HOSTILE, report_runs.chat(HOSTILE, HOSTILE), HOSTILE)
            for i in range(4)
        ]
        # Plotly reads tags in its labels: the name of this task becomes one.
        report_runs.add_result(run, stage, "<b>굵게 <img src=x onerror=alert(1)>", samples, [HOSTILE])
    report_runs.add_judge(run)
    content = report_of([run])
    page = tmp_path / "보고서.html"
    text = render_html(content, "ko")
    assert text.count("</body>") == 1
    page.write_text(text.replace("</body>", PROBE), encoding="utf-8")
    return page


def test_hostile_data_is_shown_and_never_run(hostile, tmp_path):
    found = seen(hostile, tmp_path / "profile")
    assert found["title"] == "나쁜-실행"
    assert found["images"] == 0
    # plotly would read tags in its labels; they are shown as they are.
    assert "<b>굵게" in found["labels"]
    assert "<img" in found["labels"]
    assert "XSS" in hostile.read_text("utf-8")


def test_every_plot_is_drawn_and_nothing_is_fetched(hostile, tmp_path):
    found = seen(hostile, tmp_path / "profile")
    assert found["plots"] >= 10
    assert found["empty"] == 0
    assert found["drawn"] > 50
    assert found["requests"] == []


def test_the_page_opens_as_asked_and_its_toggles_work(hostile, tmp_path):
    plain, english, dark, printed, after = seen(hostile, tmp_path / "profile", "?theme=light")["styles"]
    assert (plain["lang"], plain["heading"], plain["legend"]) == ("ko", "학습 곡선", "베이스")
    assert (english["lang"], english["heading"], english["legend"]) == ("en", "Training curves", "base")
    assert dark["ground"] != plain["ground"]
    assert dark["tick"] != plain["tick"]
    assert dark["trace"] != plain["trace"]
    # Paper is light and everything on it is open; afterwards all is as it was.
    assert (printed["ground"], printed["tick"], printed["trace"]) == (plain["ground"], plain["tick"], plain["trace"])
    assert printed["open"] > dark["open"] == after["open"] == 0
    assert after["ground"] == dark["ground"]
    asked = seen(hostile, tmp_path / "profile2", "?lang=en&theme=dark")["styles"][0]
    assert (asked["lang"], asked["ground"], asked["legend"]) == ("en", dark["ground"], "base")


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Return the address of a server on this machine and the list of what it is asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}", asked
        found.shutdown()


def test_the_policy_stops_what_an_escape_mistake_would_let_through(hostile, tmp_path, server):
    address, asked = server
    tries = (
        f'<img src="{address}/image"><script src="{address}/script"></script>'
        f'<link rel="stylesheet" href="{address}/style"><iframe src="{address}/frame"></iframe>'
        f'<script>fetch("{address}/fetch")</script>'
    )
    text = hostile.read_text("utf-8").replace("<main", f"{tries}<main", 1)
    hostile.write_text(text, "utf-8")
    seen(hostile, tmp_path / "profile")
    assert asked == []
    # The same page without its policy does reach the server: this test can see a request.
    hostile.write_text(re.sub(r"<meta http-equiv=[^>]*>", "", text), "utf-8")
    seen(hostile, tmp_path / "profile2")
    assert {"/image", "/script", "/style", "/frame", "/fetch"} <= set(asked)


def test_a_missing_browser_fails_unless_it_is_meant(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(pytest.fail.Exception, match="ALPHAF_NO_BROWSER=1"):
        browser.__wrapped__()
    monkeypatch.setattr("chromium.NO_BROWSER", True)
    with pytest.raises(pytest.skip.Exception):
        browser.__wrapped__()
