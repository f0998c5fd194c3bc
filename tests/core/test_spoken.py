"""Messages are recognised by their templates and said in the reader's language, at one boundary."""

from __future__ import annotations

import string
import subprocess
import sys
import time
from pathlib import Path

import messages
import pytest

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is of the dev extra")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from alphaf_orch.core.catalogue import Catalogue  # noqa: E402
from alphaf_orch.core.spoken import catalogue, language, say, spoken  # noqa: E402
from alphaf_orch.core.template import Template  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]

TEXTS = {
    "there is no run {name}": "실행 {name}이(가) 없습니다",
    "{stage} is not finished: {why}": "{stage} 단계가 끝나지 않았습니다: {why}",
    "it is not UTF-8 (byte {start})": "UTF-8이 아닙니다({start}번째 바이트)",
    "give {{answer}} a value": "{{answer}}에 값을 주십시오",
    "{count} row{s} of {file} must be mended": "{file}의 행 {count}개를 고쳐야 합니다",
    "report it with that": "그 내용과 함께 알려 주십시오",
    "what is finished is kept": "끝난 것은 그대로 있습니다",
}


@pytest.mark.parametrize(
    ("english", "korean"),
    [
        ("there is no run 한글 실행", "실행 한글 실행이 없습니다"),
        ("  there is no run x", "  실행 x가 없습니다"),
        (
            "sft is not finished: it is not UTF-8 (byte 12)",
            "sft 단계가 끝나지 않았습니다: UTF-8이 아닙니다(12번째 바이트)",
        ),
        ("give {answer} a value.", "{answer}에 값을 주십시오."),
        ("1 row of a.jsonl must be mended", "a.jsonl의 행 1개를 고쳐야 합니다"),
        ("2 rows of a{b}.jsonl must be mended", "a{b}.jsonl의 행 2개를 고쳐야 합니다"),
        ("report it with that; what is finished is kept", "그 내용과 함께 알려 주십시오; 끝난 것은 그대로 있습니다"),
        ("- there is no run x", "- 실행 x가 없습니다"),
        ("something a tool said", "something a tool said"),
        ("", ""),
    ],
)
def test_a_text_is_recognised_and_said_with_its_values(english: str, korean: str) -> None:
    assert Catalogue(TEXTS).said(english) == korean


def test_a_page_is_named_in_the_readers_language(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "use a key that the tool has, see docs/errors.md, docs/errors.md#identifiers, docs/engines.md and docs/x.md"
    assert spoken(told) == told
    monkeypatch.setenv("ALPHAF_LANG", "ko")
    assert spoken("docs/errors.md, docs/errors.md#identifiers; docs/engines.md") == (
        "docs/errors.ko.md, docs/errors.md#identifiers; docs/engines.md"
    )
    assert spoken("use one of the tool's own keys; see docs/configuration.md").endswith(
        "docs/configuration.ko.md를 보세요"
    )


def test_the_figures_of_a_training_are_said_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHAF_LANG", "ko")
    line = "dpo  3/6  loss 0.690  margin 0.003  accuracy 0.50  123 tokens/s  ETA 1:02:12  (0:33)"
    assert spoken(line) == "dpo  3/6  손실 0.690  마진 0.003  정확도 0.50  123 토큰/초  남은 시간 1:02:12  (0:33)"
    assert spoken("kind checkpoint") == "kind checkpoint"
    assert spoken("checkpoint") == "체크포인트"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("한도", "한도를 한도와 한도로"),
        ("실행", "실행을 실행과 실행으로"),
        ("파일", "파일을 파일과 파일로"),
        ("sft", "sft를 sft와 sft로"),
        ("merge_dpo", "merge_dpo를 merge_dpo와 merge_dpo로"),
        ("learning_rate", "learning_rate를 learning_rate와 learning_rate로"),
        ("lora_r", "lora_r을 lora_r과 lora_r로"),
        ("optimizer", "optimizer를 optimizer와 optimizer로"),
        ("chat_template", "chat_template을 chat_template과 chat_template으로"),
        ("name", "name을 name과 name으로"),
        ("training", "training을 training과 training으로"),
        ("a.jsonl", "a.jsonl을 a.jsonl과 a.jsonl로"),
        ("a.json", "a.json을 a.json과 a.json으로"),
        ("'eeve'", "'eeve'를 'eeve'와 'eeve'로"),
        ("HF_TOKEN", "HF_TOKEN을 HF_TOKEN과 HF_TOKEN으로"),
        ("HF_HOME", "HF_HOME을 HF_HOME과 HF_HOME으로"),
        ("PyYAML", "PyYAML을 PyYAML과 PyYAML로"),
        ("SFT", "SFT를 SFT와 SFT로"),
        ("1.5 GiB", "1.5 GiB를 1.5 GiB와 1.5 GiB로"),
        ("10", "10을 10과 10으로"),
        ("11", "11을 11과 11로"),
        ("2", "2를 2와 2로"),
        # How it is read is not known: both stay.
        ("step", "step을(를) step과(와) step(으)로"),
        ("…", "…을(를) …과(와) …(으)로"),
        ("", "을(를) 과(와) (으)로"),
    ],
)
def test_a_particle_is_the_one_that_its_value_is_read_with(value: str, said: str) -> None:
    assert Template("{x} it is", "{x}을(를) {x}과(와) {x}(으)로").filled({"x": value}) == said


def test_particles_within_a_value_stay_and_those_behind_a_quote_are_said() -> None:
    made = Template("{x} it is", "`{x}`은(는) '{x}'이(가) {x}와(과) {x}(이)라")
    assert made.filled({"x": "b이(가)"}) == "`b이(가)`은(는) 'b이(가)'이(가) b이(가)와(과) b이(가)(이)라"
    assert made.filled({"x": "sft"}) == "`sft`는 'sft'가 sft와 sft라"
    assert made.filled({"x": "run"}) == "`run`은 'run'이 run과 run이라"


def test_what_a_training_needs_of_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHAF_LANG", "ko")
    memory = "2.0 GiB (1.0 GiB to 3.0 GiB) of 79.6 GiB"
    for last, said in (("fits", "들어감"), ("tight", "빠듯함"), ("does NOT fit", "들어가지 않음")):
        assert spoken(f"sft: {memory}, {last}; by formula") == (
            f"sft: 79.6 GiB 중 2.0 GiB(1.0 GiB~3.0 GiB), {said}; 계산식"
        )
    known = "memory measured here (run a), time by formula"
    assert spoken(known) == "메모리는 여기서 측정(실행 a), 시간은 계산식"
    assert spoken("sft wants 8, dpo wants 1; 0 GPUs here") == "sft에 8개 필요, dpo에 1개 필요; 여기 GPU 0개"


RULES = {
    "{what} was found again": "{what}을(를) 다시",
    "is bad here": "잘못되었습니다",
    "is bad here; mend it": "잘못되었으니 고치세요",
    "{what}: nothing was read": "읽지 않음({what})",
    "run {name} was found": "실행 {name}을(를) 찾았습니다",
    "run {name} was found again": "실행 {name}을(를) 다시 찾았습니다",
    "it is empty": "비어 있습니다",
    "it is full": "가득 찼습니다",
    "mend it; then start again": "고친 다음 다시 시작하세요",
    "mend it": "고치세요",
    "then start again": "다시 시작하세요",
    "is blank space": "공백입니다",
    "is {value}": "{value}입니다",
    "done": "완료",
    "model": "모델",
    "key {value} is there twice": "키 {value}이(가) 두 번 있습니다",
    "{path} line {value}": "{path} {value}번째 줄",
    "{number} byte{s}": "{number}바이트",
    "{span} above {low}": "{low}보다 큰 {span}",
    "{span}, or null": "{span} 또는 null",
    "{who} needs {names}": "{who}에는 {names}이(가) 필요합니다",
    "{who} job {value}": "{who} 작업 {value}",
    "line {n}": "{n}번째 줄",
    "cannot read {path}{why}": "{path}을(를) 읽을 수 없습니다{why}",
    "{what} can never have been written": "기록됐을 리 없는 {what}",
    "{a} and {b} differ, {a} is kept": "{a}와 {b}이(가) 다릅니다. {a}을(를) 남깁니다",
    "copy {source} to {target} now": "{source}을(를) {target}(으)로 지금 복사하세요",
    "did not find ',' or '}}'": "','나 '}}'가 없습니다",
}


@pytest.mark.parametrize(
    ("english", "korean"),
    [
        # 1. two texts of ours with a semicolon between
        ("run a; b was found; it is empty", "실행 a; b를 찾았습니다; 비어 있습니다"),
        ("mend it; then start again", "고친 다음 다시 시작하세요"),
        ("'x' mend it; then start again", "'x' mend it; 다시 시작하세요"),
        ("a.b is bad here; mend it", "a.b: 잘못되었으니 고치세요"),
        # 2. what stands around a text
        ("    it is empty (1,024)", "    비어 있습니다 (1,024)"),
        ("  3 x it is empty", "  3 x 비어 있습니다"),
        ("| - it is empty:", "| - 비어 있습니다:"),
        ("--it is empty", "--it is empty"),
        ("  done ", "  완료 "),
        ("done:", "done:"),
        ("- name: done", "- name: done"),
        # 3. a template, the one with most letters of its own
        ("run a was found again", "실행 a를 다시 찾았습니다"),
        ("run done was found", "실행 done을 찾았습니다"),
        ("key model is there twice", "키 model이 두 번 있습니다"),
        ("a.yaml line 3", "a.yaml 3번째 줄"),
        ("a.yaml line of text", "a.yaml line of text"),
        ("2 bytes", "2바이트"),
        ("two bytes", "two bytes"),
        ("2 bytestrings", "2 bytestrings"),
        ("a whole number above 1", "1보다 큰 a whole number"),
        ("a whole number of 1 or more, or null", "a whole number of 1 or more 또는 null"),
        ("a comma is missing between two rows above 7", "a comma is missing between two rows above 7"),
        ("mlflow needs a server", "mlflow에는 a server가 필요합니다"),
        ("an own template of a model needs markers", "an own template of a model needs markers"),
        ("slurm job 7", "slurm 작업 7"),
        ("a job with GPUs gets 4 for each", "a job with GPUs gets 4 for each"),
        ("cannot read a.yaml: it is empty", "a.yaml을 읽을 수 없습니다: 비어 있습니다"),
        ("cannot read a.yaml it", "a.yaml it을(를) 읽을 수 없습니다"),
        ("it is empty: it can never have been written", "비어 있습니다: 기록됐을 리 없는 it"),
        ("a: b: nothing was read", "읽지 않음(a: b)"),
        ("run " * 6 + "x" + " was found" * 6, "실행 " * 5 + "run x was found" + "를 찾았습니다" * 5),
        ("x and y differ, x is kept", "x와 y가 다릅니다. x를 남깁니다"),
        ("x and y differ, z is kept", "x and y differ, z is kept"),
        ("copy a to b to c now", "a를 b to c로 지금 복사하세요"),
        ("did not find ',' or '}'", "','나 '}'가 없습니다"),
        # 4. a problem behind its key, a name with a text in brackets
        ("messages[0].content is blank space", "messages[0].content: 공백입니다"),
        ("this is nothing", "this is nothing"),
        ("a.yaml (it is empty)", "a.yaml(비어 있습니다)"),
        # 5. parts
        ("x.y: it is empty", "x.y: 비어 있습니다"),
        ("it is empty · x", "비어 있습니다 · x"),
        ("it is empty and it is full", "비어 있습니다, 가득 찼습니다"),
        ("it is empty and old", "it is empty and old"),
        ("it is empty, x", "비어 있습니다, x"),
        ("done, model", "done, model"),
        ("sft, done, dpo", "sft, done, dpo"),
        ("model: tiny", "model: tiny"),
        ("File a.py, line 12, in main", "File a.py, line 12, in main"),
        # what stays as it is
        ("run " * 500 + "was found", "run " * 500 + "was found"),
        ("실행 완료을(를) 찾았습니다: it is empty", "실행 완료을(를) 찾았습니다: 비어 있습니다"),
    ],
)
def test_every_rule_of_recognition(english: str, korean: str) -> None:
    assert Catalogue(RULES).said(english) == korean


def test_what_was_said_is_not_said_again() -> None:
    known = Catalogue(RULES | {"run {name} is gone": "it is empty: {name}"})
    once = known.said("run x is gone")
    assert once == "it is empty: x"
    assert known.said(once) == once


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": ""}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "ALPHAF_LANG": "en"}, "en"),
        ({"LANG": "C", "ALPHAF_LANG": "KO"}, "ko"),
    ],
)
def test_the_language_is_the_locales_unless_alphaf_lang_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: str
) -> None:
    for key in ("ALPHAF_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert language() == wanted


def test_a_text_is_printed_in_the_readers_language(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say("what is finished is kept; the same command goes on where it stopped")
    assert capsys.readouterr().out == "what is finished is kept; the same command goes on where it stopped\n"
    monkeypatch.setenv("ALPHAF_LANG", "ko")
    say("what is finished is kept; the same command goes on where it stopped", err=True)
    assert "가" <= capsys.readouterr().err[0] <= "힣"


def test_every_message_of_the_sources_has_its_korean_text() -> None:
    catalogues = {path.stem: messages.read(path) for path in messages.CATALOGUES.glob("*.json")}
    wanted = {name: sorted(set(found)) for name, found in messages.of_sources().items()}
    assert {name: list(each) for name, each in catalogues.items()} == wanted, "run `make messages`"
    assert [lack for each in catalogues.values() for lack in messages.lacking(each)] == []


def test_every_template_is_recognised_as_itself() -> None:
    texts: dict[str, str] = {}
    for path in messages.CATALOGUES.glob("*.json"):
        texts |= {text: said for text, said in messages.read(path).items() if said}
    known = Catalogue(texts)
    mistaken = {}
    for text, said in texts.items():
        parts = [(literal, name) for literal, name, _, _ in string.Formatter().parse(text) if name]
        # Numbers, which some values must be; of two side by side the second is something that is said of the first.
        values = {
            name: "s" if name.rstrip(string.digits) == "s" else str(n) if literal or n == 101 else f": {n}"
            for n, (literal, name) in enumerate(parts, 101)
        }
        template, found = known.recognised(text.format_map(values))
        if template is None or template.filled(found) != Template(text, said).filled(values):
            mistaken[text] = template and template.text
    assert mistaken == {}


def _lines(*patterns: str) -> list[str]:
    paths = [path for pattern in patterns for path in sorted(ROOT.glob(pattern)) if path.is_file()]
    return [line for path in paths for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def _filled() -> list[str]:
    texts = [text for path in messages.CATALOGUES.glob("*.json") for text, said in messages.read(path).items() if said]
    parsed = [(text, {name for _, name, _, _ in string.Formatter().parse(text) if name}) for text in texts]
    return [text.format_map(dict.fromkeys(names, "12")) for text, names in parsed]


def test_a_text_of_ours_in_korean_is_not_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHAF_LANG", "ko")
    assert [text for text in _filled() if spoken(spoken(text)) != spoken(text)] == []


FOREIGN = """\
Traceback (most recent call last):
  File "/opt/학습/train.py", line 12, in main
    trainer.train(resume_from_checkpoint=path)
torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 79.15 GiB total capacity)
RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!
{'loss': 1.2345, 'grad_norm': 0.51, 'learning_rate': 1.9e-05, 'epoch': 0.1}
 12%|█▏        | 120/1000 [02:00<14:40,  1.00s/it]
[2026-01-01 00:00:00,000] [INFO] [axolotl.train:42] [PID:7] loading model from /data/base
W0101 00:00:00.000000 7 torch/distributed/run.py:793] Setting OMP_NUM_THREADS environment variable
{"id": 3, "messages": [{"role": "user", "content": "금리란 무엇인가요?"}], "model": "tiny"}
name: data
  - name: HF_HOME
    template:
seed: [0, 1234]
/srv/모델/eeve/config.json
The quick brown fox jumps over the lazy dog, and nobody was there to see it; it was late.
Loading checkpoint shards: 100%|██████████| 4/4 [00:01<00:00,  3.20it/s]
WARNING: The scripts are installed in a directory which is not on PATH.
srun: error: node7: task 0: Out Of Memory
slurmstepd: error: Detected 1 oom_kill event in StepId=7.0.
""".splitlines()


def test_what_is_none_of_ours_stays_as_it_is() -> None:
    known = catalogue()
    assert [line for line in FOREIGN if known.said(line) != line] == []
    files = _lines("tests/golden/**/*.y*ml", "tests/fixtures/**/*.json", "tools/sample_data/**/*.jsonl", "LICENSE")
    files += _lines("requirements/*.lock")
    changed = [line for line in files if "#" not in line and known.said(line) != line]
    # What a file of settings has in the very form of a message of ours, such as `model: {model}`.
    assert all(known.recognised(line.strip())[0] for line in changed), changed
    assert len(files) > 10_000
    assert len(changed) < len(files) / 200


PIECES = st.sampled_from(
    [*_filled()[::40], "; ", ": ", ", ", " and ", " (", ")", "{", "}", "\0", "\x1b[1m", "\r", "'", "`"]
)


@given(st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=20))).map("".join)), st.integers(1, 300))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_is_refused(text: str, times: int) -> None:
    repeated = (text * times)[:10_000]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ALPHAF_LANG", "ko")
        assert spoken(repeated).count("\n") >= repeated.count("\n")
        assert spoken(spoken(repeated)) == spoken(repeated)


def test_a_long_text_takes_no_time() -> None:
    started = time.process_time()
    known = catalogue.__wrapped__()
    loaded = time.process_time()
    for text in ("; ".join(_filled()[::100])[:1990], "x, key x: " * 190, ", key x: " * 200 + "?"):
        known.said(text)
    # Several times what it takes alone on a machine (30 ms to load, 0.2 s for the three): tests run side by side.
    assert loaded - started < 0.5
    assert time.process_time() - loaded < 1.5


def test_english_loads_nothing_of_it() -> None:
    code = "import sys; from alphaf_orch.core.spoken import spoken; spoken('it is empty'); print(*sys.modules)"
    english, korean = (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"ALPHAF_LANG": language}
        ).stdout.split()
        for language in ("en", "ko")
    )
    ours = {"alphaf_orch.core.catalogue", "alphaf_orch.core.template"}
    assert not ours & set(english)
    assert ours <= set(korean)
