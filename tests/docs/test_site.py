"""The pages as a site: in both languages, every link and anchor leading somewhere, nothing asked of a network."""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, Page
from docs_site import nav, stage
from docs_site.check import faults
from watched import cut_off

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("DOCS_PYTHON") or ROOT / ".venv-docs" / "bin" / "python")
needed = pytest.mark.skipif(not PYTHON.is_file(), reason="no .venv-docs here: `make setup-docs` makes it")
WITHIN_S = 240  # 10 s alone on two cores; the bar is a minute, and others may work beside the test


def built(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    argv = [
        str(PYTHON),
        "-m",
        "docs_site",
        "--root",
        str(root),
        "--out",
        str(out),
        "--staged",
        str(out.parent / "staged"),
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT / "tools")}
    # Where that can be had, with no network interface at all.
    return subprocess.run(
        [*cut_off(), *argv], env=env, capture_output=True, text=True, check=False, timeout=WITHIN_S, cwd=out.parent
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("문서") / "site"
    done = built(ROOT, out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(rf"docs: \d+ pages in \d+ s, begin at {re.escape(str(out))}/index\.html\n", done.stdout)
    return out


def heading(page: Path) -> str:
    found = re.search(r"<h1[^>]*>(.*?)<", page.read_text(encoding="utf-8"), re.DOTALL)
    return found[1].strip() if found else ""


@needed
def test_every_page_is_there_in_both_languages(site: Path) -> None:
    pages = {stage.english(page) for page in stage.sources(ROOT)}
    made = {page.relative_to(site).as_posix() for page in site.rglob("*.html")}
    names = {re.sub(r"(^|/)README\.md$", r"\1index.md", page).removesuffix(".md") + ".html" for page in pages}
    assert made == names | {f"ko/{name}" for name in names}


@needed
def test_a_page_without_korean_is_shown_in_english_and_the_readme_is_the_front(site: Path) -> None:
    assert heading(site / "index.html") == heading(site / "ko" / "index.html") == "alphaf-orch"
    assert heading(site / "docs" / "notify.html") == "Being told, and watching"
    assert heading(site / "ko" / "docs" / "notify.html") == "알림 받기와 지켜보기"
    assert not (ROOT / "docs" / "clusters-design.ko.md").exists(), "another page for this test is to be found"
    assert heading(site / "ko" / "docs" / "clusters-design.html") == heading(site / "docs" / "clusters-design.html")
    front = (site / "ko" / "index.html").read_text(encoding="utf-8")
    assert "먼저 실행해 보기" in front and 'lang="ko"' in front and "시작하기" in front
    assert "한국어: <a" not in (site / "index.html").read_text(encoding="utf-8"), "the site has a switch for that"


@needed
def test_every_address_in_the_site_leads_somewhere_in_it_and_none_is_fetched_from_elsewhere(site: Path) -> None:
    assert list(faults(site)) == []
    assert not re.search(
        r"(?:src|href)=\"?https?://[^\"]*(?:fonts|cdn|unpkg)", (site / "index.html").read_text("utf-8")
    )


def test_what_leads_nowhere_or_elsewhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@import 'https://fonts.example/a.css'; b { background: url(//cdn.example/b.png) }")
    (tmp_path / "나.html").write_text('<h1 id="위">나</h1>', "utf-8")
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="a.css"><script src="https://cdn.example/x.js"></script><img src="no.png">'
        '<a href="https://example.com/">out</a><a href="나.html#위">1</a><a href="나.html#아래">2</a>'
        '<a href="c.html">3</a><style>p { background: url("http://example.com/p.png") }</style><a href="#__top">4</a>'
        '<a href="../x">5</a>'
        '<pre class="mermaid">a --> b</pre>',
        "utf-8",
    )
    assert sorted(faults(tmp_path)) == [
        "a.css: fetches //cdn.example/b.png",
        "a.css: fetches https://fonts.example/a.css",
        "a.html: ../x leads nowhere",
        "a.html: a mermaid diagram, whose renderer the theme would fetch",
        "a.html: c.html leads nowhere",
        "a.html: fetches http://example.com/p.png",
        "a.html: fetches https://cdn.example/x.js",
        "a.html: no.png leads nowhere",
        "a.html: 나.html#아래: no such place in that page",
    ]


@needed
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[gone](#gone)", "'#gone', but there is no such anchor on this page"),
        ("[b](b.md#gone)", "'b.md#gone', but the doc 'docs/b.md' does not contain an anchor '#gone'"),
        ("[c](c.md)", "'c.md', but the target 'docs/c.md' is not found"),
        ("[b](b.md#나)", None),
    ],
)
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path, line: str, told: str | None) -> None:
    root = tmp_path / "작은"
    (root / "docs").mkdir(parents=True)
    (root / "README.md").write_text("# 앞\n\n[a](docs/a.md), [folder](docs), [data](docs/a.json)\n", "utf-8")
    (root / "docs" / "a.json").write_text("{}")
    (root / "docs" / "a.md").write_text(f"# A\n\n{line}\n\n```sh\n[not](a-link.md)\n```\n", "utf-8")
    (root / "docs" / "b.md").write_text("# B\n\n## 나\n", "utf-8")
    done = built(root, tmp_path / "site")
    assert (done.returncode == 0) == (told is None), done.stderr
    assert (told or "") in done.stderr
    if told is None:
        assert (tmp_path / "site" / "docs" / "a.json").is_file(), "what a page links to is in the site"


def test_a_korean_page_has_the_anchors_of_the_english_one() -> None:
    original = "# Notice\n\n## When `it` is told\n\n```sh\n# no heading\n```\n\n## End\n"
    translated = "# 알림\n\n## 언제\n\n```sh\n# no heading\n```\n\n## End\n"
    made = stage.with_anchors_of(original, translated)
    assert made == (
        '# 알림<a id="notice"></a>\n\n## 언제<a id="when-it-is-told"></a>\n\n```sh\n# no heading\n```\n\n## End\n'
    )
    assert stage.with_anchors_of(original, "# 알림\n").startswith(
        '# 알림<a id="notice"></a><a id="when-it-is-told"></a><a id="end"></a>'
    )


def test_no_page_is_left_out_of_the_navigation() -> None:
    pages = [*stage.sources(ROOT), "docs/new.md", "docs/new.ko.md"]
    made = nav.navigation(pages)
    sections = [[section] if isinstance(section, str) else next(iter(section.values())) for section in made]
    named = [page for section in sections for page in section]
    assert sorted(named) == sorted({stage.english(page) for page in pages})
    assert {title for section in made if isinstance(section, dict) for title in section} <= nav.korean().keys()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(
        tmp_path_factory.mktemp("profile"), "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    ) as made:
        yield made


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """The site behind a server that knows nothing but files."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def search(page: Page, words: str) -> list[str]:
    """Return the pages that the site's own search finds."""
    page.ask("(box => box.checked || box.click())(document.querySelector('[data-md-toggle=search]'))")
    box = "document.querySelector('.md-search__input')"
    page.ask(f"{box}.focus(); {box}.value = '{words}'")
    for kind in ("input", "keyup"):
        page.ask(f"{box}.dispatchEvent(new Event('{kind}', {{bubbles: true}}))")
    found = "[...document.querySelectorAll('.md-search-result__link')].map((each) => each.href)"
    page.wait(f"{found}.length > 0")
    return [re.sub(r"[?#].*", "", address) for address in page.ask(found)]


@needed
@pytest.mark.parametrize("behind", ["file", "http"])
def test_search_works_in_both_languages_without_a_network(behind, site, request, chromium) -> None:
    begin = site.as_uri() if behind == "file" else request.getfixturevalue("served")
    page = chromium.page()
    for front, words, there in (
        ("index.html", "bus factor citation", "docs/metrics.html"),
        ("index.html", "lora_r", "docs/lora-or-full.html"),
        ("index.html", "estimate", "docs/estimate.html"),
        ("ko/index.html", "알림", "ko/docs/notify.html"),
        ("ko/index.html", "폐쇄망", "ko/docs/offline.html"),  # 폐쇄망에서
    ):
        page.open(f"{begin}/{front}")
        page.wait("document.readyState === 'complete' && document.querySelector('.md-search__input')")
        assert any(address.endswith(there) for address in search(page, words)), (front, words)
    asked = {address for address in page.requests() if not address.startswith(("data:", begin))}
    assert asked == set()


@needed
@pytest.mark.parametrize("behind", ["file", "http"])
def test_the_switch_leads_to_the_same_page_in_the_other_language(behind, site, request, chromium) -> None:
    begin = site.as_uri() if behind == "file" else request.getfixturevalue("served")
    page = chromium.page()
    page.open(f"{begin}/docs/notify.html")
    page.wait("document.querySelector('a.md-select__link[hreflang=ko]')")
    page.ask("document.querySelector('a.md-select__link[hreflang=ko]').click()")
    page.wait("document.querySelector('h1')?.innerText.startsWith('알림 받기')")
    page.ask("document.querySelector('a.md-select__link[hreflang=en]').click()")
    page.wait("document.querySelector('h1')?.innerText.startsWith('Being told')")
