"""No secret gets into a setting, none comes out in a file, a log or on the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from canary import CANARY, ENVIRONMENT, forms, has_canary, leaks
from judge_stub import Stub, say
from judged import judge, rows

from alphaf_orch.core.command import run_logged
from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError, ToolError
from alphaf_orch.core.masking import FileMask, is_secret_name, mask, mask_values
from alphaf_orch.core.paths import template_folders
from alphaf_orch.inputs.presets import read_preset
from alphaf_orch.judging.preset import load_judge
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.keys import parse_set

(TEMPLATES,) = template_folders()
COMMANDS = [("sft",), ("plan",), ("ablate", "neftune")]


@pytest.fixture
def secrets(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


# Ways in.

IN = {
    "password": f"mlflow_tracking_uri=http://u:{CANARY}@h",
    "user name": f"mlflow_tracking_uri=https://{CANARY}@h",
    "query": f"mlflow_tracking_uri=https://h/?api_key={CANARY}",
    "presigned": f"tokenizer_config=https://h/x?X-Amz-Signature={CANARY}",
    "token's name": f"hub_token={CANARY}",
    "key's name": f"wandb_api_key={CANARY}",
    "nested": f"special_tokens.my_secret={CANARY}",
    "in a mapping": f"trainer_kwargs={{password: {CANARY}}}",
    "shape": f"wandb_project=hf_{CANARY}AbCdEfGh",
    "unknown key": f"no_such_key=http://u:{CANARY}@h",
    "of dpo": f"dpo.mlflow_tracking_uri=http://u:{CANARY}@h",
}


@pytest.mark.parametrize("item", IN.values(), ids=IN)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_secret_gets_in_by_an_option(alphaf, tmp_path, command, item):
    done = alphaf(*command, "--model", "tiny", "--set", item)
    assert done.exit_code == 2, done.output
    assert leaks(tmp_path, done.stdout, done.stderr) == []
    assert not (tmp_path / "실행").exists()


def test_the_refusal_says_where_the_secret_belongs(alphaf):
    said = alphaf("sft", "--model", "tiny", "--set", f"mlflow_tracking_uri=http://u:{CANARY}@h").stderr
    assert "mlflow_tracking_uri holds a password, and recipes are written to disk" in said
    assert "take it out of the address and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in said
    assert "set WANDB_API_KEY" in alphaf("sft", "--model", "tiny", "--set", f"wandb_api_key={CANARY}").stderr
    assert "set HF_TOKEN" in alphaf("sft", "--model", "tiny", "--set", f"hub_token={CANARY}").stderr


CONFIGS = {
    "trackers": {"trackers": {"mlflow_tracking_uri": f"https://{CANARY}@h"}},
    "sft": {"sft": {"mlflow_tracking_uri": f"https://u:{CANARY}@h"}},
    "dpo": {"dpo": {"wandb_project": f"ghp_{CANARY}AbCdEfGhIj"}},
    "datasets": {"datasets": [{"path": f"https://u:{CANARY}@h/rows.jsonl", "type": "chat_template"}]},
    "storage options": {"datasets": [{"path": "s3://b/r.jsonl", "storage_options": {"key": CANARY}}]},
    "data": {"data": [f"https://{CANARY}@h/rows.jsonl"]},
    "model": {"model": f"https://u:{CANARY}@h/org/name"},
    "merge partner": {"merge": {"partner": f"https://u:{CANARY}@h/org/name"}},
    "tools": {"tools": {"axolotl": f"https://u:{CANARY}@h/python"}},
    "unknown": {"hub_token": CANARY},
}


@pytest.mark.parametrize("values", CONFIGS.values(), ids=CONFIGS)
def test_no_secret_gets_in_by_the_config(alphaf, tmp_path, tmp_path_factory, values):
    file = tmp_path_factory.mktemp("설정") / "c.yaml"
    file.write_text(yaml.safe_dump({"model": "tiny", **values}), encoding="utf-8")
    done = alphaf("run", "--config", str(file))
    assert done.exit_code == 2, done.output
    assert leaks(tmp_path, done.stdout, done.stderr) == []
    assert not (tmp_path / "실행").exists()


def test_no_secret_gets_in_by_other_doors(cpu, tmp_path, alphaf, secrets):
    refused = []
    with pytest.raises(ConfigError) as caught:  # settings that no file and no option gave
        config = RunConfig(model="tiny", dpo={"mlflow_tracking_uri": f"http://u:{CANARY}@h"})
        make_plan(config, cpu, tmp_path, Scope(dry=True))
    refused.append(caught)
    with pytest.raises(ConfigError) as caught:  # what the shell put in the place of $WANDB_API_KEY
        parse_set([f"wandb_project={ENVIRONMENT['WANDB_API_KEY']}"], default="sft")
    refused.append(caught)
    preset = tmp_path / "mine.yaml"
    text = (TEMPLATES / "models" / "tiny.yaml").read_text(encoding="utf-8").replace("name: tiny", "name: mine")
    preset.write_text(f"{text}\nsft: {{mlflow_tracking_uri: 'http://u:{CANARY}@h'}}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_preset(preset)
    refused.append(caught)
    judge_folder = tmp_path / "judge"
    judge_folder.mkdir()
    local = (TEMPLATES / "judge" / "local.yaml").read_text(encoding="utf-8")
    (judge_folder / "mine.yaml").write_text(f"{local}\nextra_body: {{api_key: {CANARY}}}\n", encoding="utf-8")
    (judge_folder / "other.yaml").write_text(
        yaml.safe_dump({**yaml.safe_load(local), "api_key_env": f"{CANARY}-as-a-key"}), encoding="utf-8"
    )
    for name in ("mine", "other", f"http://u:{CANARY}@h/v1", f"ftp://u:{CANARY}@h", f"http://h/v1?api_key={CANARY}"):
        with pytest.raises(ConfigError) as caught:
            load_judge(name, (tmp_path, TEMPLATES))
        refused.append(caught)
    assert [CANARY in str(each.value) for each in refused] == [False] * len(refused)


def test_what_is_no_secret_is_not_refused():
    given = [
        "special_tokens.pad_token=<unk>", "mlflow_tracking_uri=http://mlflow.bank:5000/@x", "hf_use_auth_token=true",
        "hub_model_id=org/name", "eot_tokens=[\"</s>\"]", "tokens=[\"<x>\"]", "wandb_project=sk-project",
    ]  # fmt: skip
    assert parse_set(given, default="sft")["sft"]["special_tokens"] == {"pad_token": "<unk>"}
    assert not any(map(is_secret_name, ("pad_token", "additional_special_token", "tokens", "eval_max_new_tokens")))


# Ways out.


def test_a_text_is_masked_by_value_and_by_shape(secrets):
    kept = [
        "git@github.com:x/y kim@bank.kr https://host:443/@scope", "pad_token: </s>", "bearer securities are risky",
        "export JUDGE_API_KEY=... before", "{'api_key': None}", "3e-05 plain",
    ]  # fmt: skip
    assert [mask(text) for text in kept] == kept
    shapes = (f"pw/{CANARY}", f"a https://u:{CANARY}@h/p b", f"Authorization: Bearer {CANARY}")
    shapes += (f"API_KEY = '{CANARY}'", f'{{"access_key_id": "{CANARY}"}}', f"İ password: {CANARY}")
    for text in (*ENVIRONMENT.values(), *shapes):
        assert CANARY not in mask(text), text
    assert mask(f"http://kim:{CANARY}@h:80/x") == "http://kim:***@h:80/x"
    assert mask_values({"a": [f"hub_token={CANARY}"], "hub_token": CANARY, "key": "fingerprint", "n": 1}) == {
        "a": ["hub_token=***"], "hub_token": "***", "key": "fingerprint", "n": 1,
    }  # fmt: skip


def test_a_secret_that_begins_like_json_and_nests_without_end_is_masked_whole(monkeypatch):
    secret = '{"a":' * 3000
    monkeypatch.setenv("SOME_TOKEN", secret)
    assert mask(f"it was {secret}!") == "it was ***!"


@pytest.mark.parametrize("name", [name for name, value in ENVIRONMENT.items() if has_canary(value)])
def test_each_secret_is_masked_in_every_form(secrets, name):
    """As it is, in addresses, HTML, JSON, python, a shell, and base64; between Korean words too."""
    value = ENVIRONMENT[name]
    for text in forms(value):
        for around in ("오류: {}은(는) 거절됨", "오류{} 거절됨"):
            said = mask(around.format(text))
            assert not has_canary(said), said
            assert said.startswith("오류") and said.endswith(" 거절됨")


def test_a_secret_that_a_terminal_breaks_over_lines_is_masked(secrets, tmp_path):
    for name in ("HF_TOKEN", "SLACK_WEBHOOK_URL", "AZURE_STORAGE_CONNECTION_STRING"):
        value = ENVIRONMENT[name]
        for at in range(1, len(value)):
            for text in (f"a {value[:at]}\n{value[at:]} b", f"│ {value[:at]} │\n│ {value[at:]} │"):
                said = mask(text)
                assert not has_canary(said) and value[:at][-6:] not in said + "x" * (6 - at), (said, at)
    log = tmp_path / "rich.log"
    log.write_text("│ hf_kanarienvogel7Ab │\n│ CdEfGh                │\n", "utf-8")
    FileMask(log).advance(final=True)
    assert "CdEfGh" not in log.read_text("utf-8")


def test_shapes_of_keys_are_masked_wherever_they_were_read(secrets):
    """A key file, a .netrc or a cookie that a tool prints: no variable of ours holds it."""
    key = (
        "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "b3BlbnNzaC1rZXktdjEAAAAA\n" * 3 + "-----END OPENSSH PRIVATE KEY-----"
    )
    for text in (
        key, key.replace("\n", "\\n"), "machine h login u password geheim7890", "AIza" + "a1B2c" * 7,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJlLXdpdGg", "pypi-AgEIcHlwaS5vcmc" + "a" * 20,
    ):  # fmt: skip
        said = mask(f"앞 {text} 뒤")
        assert said.startswith("앞 ") and said.endswith(" 뒤") and "***" in said, said
        assert "b3Blbn" not in said and "geheim" not in said and "c2ln" not in said


def test_a_line_longer_than_a_piece_hides_what_stands_at_its_border(tmp_path, secrets, monkeypatch):
    monkeypatch.setattr("alphaf_orch.core.masking._PIECE", 1 << 16)
    for before in range((1 << 16) - 40, (1 << 16) + 40, 7):
        log = tmp_path / f"{before}.log"
        log.write_text("x" * before + ENVIRONMENT["HF_TOKEN"] + "x" * (1 << 16) + "\nEnde\n", "utf-8")
        size = log.stat().st_size
        FileMask(log).advance(final=True)
        assert not has_canary(log.read_bytes()) and log.stat().st_size == size


def test_masking_is_quick_on_long_lines():
    began = time.monotonic()
    mask("a.b-" * 100_000 + "A" * 200_000 + "password" * 20_000 + "api_key: 1 " * 20_000)
    assert time.monotonic() - began < 5


def test_a_growing_file_is_masked_in_place_and_loses_nothing(tmp_path, secrets):
    """Someone else appends all the while, as a trainer does whose alphaf was killed."""
    log = tmp_path / "로그.log"
    line = f"한글 {ENVIRONMENT['HF_TOKEN']} Ende\n".encode()

    def write() -> None:
        with log.open("ab") as file:
            for _ in range(2000):
                file.write(line)
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    hidden = FileMask(log)
    while writer.is_alive():
        hidden.advance()
    hidden.advance(final=True)
    stars = "*" * len(ENVIRONMENT["HF_TOKEN"])
    assert log.read_text(encoding="utf-8") == f"한글 {stars} Ende\n" * 2000


def test_a_log_is_masked_while_the_tool_runs_and_after_an_exception(tmp_path, secrets):
    log, seen = tmp_path / "tool.log", []
    code = "import os, time; print(os.environ['HF_TOKEN'] + chr(10) + 'Ende', flush=True); time.sleep(30)"

    def look() -> None:
        if "\nEnde" in log.read_text(encoding="utf-8"):
            seen.append(log.read_text(encoding="utf-8"))
            raise KeyboardInterrupt

    with (tmp_path / "lock").open("w") as lock, pytest.raises(KeyboardInterrupt):
        argv = (sys.executable, "-c", code)
        run_logged(argv, env=dict(os.environ), log=log, lock_fd=lock.fileno(), on_poll=look, patience=0.1)
    assert leaks(tmp_path, *seen) == []


@pytest.mark.parametrize("stage", ["preprocess", "sft", "merge_sft", "dpo"])
def test_a_tool_that_prints_its_environment_and_fails(alphaf, fake, tmp_path, secrets, stage):
    fake.behave(**{stage: "leak"})
    done = alphaf("run", "--model", "tiny", "--config", str(fake.config), "-v")
    assert done.exit_code == 7, done.output
    assert "cannot reach" in done.stderr
    shown = alphaf("show", "tiny", "--json")
    page = alphaf("report", "--run", "tiny")
    assert leaks(tmp_path, done.stdout, done.stderr, shown.stdout, page.stdout, page.stderr) == []


def test_a_judge_that_repeats_its_header_gives_nothing_away(tmp_path, monkeypatch):
    """Half of the key is at the place where a reply is cut for keeping."""
    monkeypatch.setenv("MEIN_RICHTER", CANARY)
    folder = tmp_path / "judge"
    echoes = [f'{{"winner": "A", "reason": "Bearer {CANARY}"}}', "x" * 490 + CANARY, f"Authorization: Bearer {CANARY}"]
    with Stub(lambda _, n: say(echoes[n % 3])) as stub:
        judge(folder, stub.url, 3, api_key_env="MEIN_RICHTER")
        assert stub.headers[0]["Authorization"] == f"Bearer {CANARY}"
    assert len(rows(folder)) == 6
    assert leaks(tmp_path) == []
    assert not any(CANARY[:6] in str(row) for row in rows(folder))


def test_a_defect_of_ours_gives_nothing_away(tmp_path, secrets):
    code = (
        "import os\nfrom alphaf_orch.cli import main as cli\ncli.main.callback()\n"
        "raise ValueError(os.environ['HTTPS_PROXY'] + os.environ['HF_TOKEN'])"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert len(list(tmp_path.glob("alphaf-*.trace"))) == 1
    assert leaks(tmp_path, done.stdout, done.stderr) == []


def test_an_error_shows_no_address_with_a_password():
    error = ToolError(f"no answer from http://u:{CANARY}@h", where=f"--set hub_token={CANARY}", fix="x", code="tool.x")
    assert CANARY not in error.message + error.what + error.where


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnop",
        "https://discord.com/api/webhooks/123456789012/abcdefghijklmnop",
        "https://bank.webhook.office.com/webhookb2/aaaa-bbbb@cccc/IncomingWebhook/dddddd/eeee",
        "https://chat.bank.example/hooks/abcdefghijklmnopqrstuvwxyz",
        "https://api.telegram.org/bot123456:abcdefghijklmnopqrstuvwxyz/sendMessage",
        "https://wh.jandi.com/connect-api/webhook/1234/abcdefghijklmnop",
        "https://hook.dooray.com/services/1234/5678/abcdefghijklmnop",
        "https://chat.googleapis.com/v1/spaces/A/messages?key=AIzaxxxx&token=abcdefghijkl",
    ],
)
def test_the_address_of_a_webhook_is_a_secret(address: str) -> None:
    """Whoever has it may write there."""
    assert "abcdefgh" not in mask(f"보냄 {address} 끝") and "dddddd" not in mask(address)
    with pytest.raises(ConfigError):
        refuse_credentials({"sft": {"report_to": address}}, "c.yaml")
    assert mask("runs/hooks/pre-commit and https://example.com/hooks/list") == (
        "runs/hooks/pre-commit and https://example.com/hooks/list"
    )
