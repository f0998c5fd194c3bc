"""`alphaf doctor` on the machine of the tests, and its kernels as far as a processor runs them; none ran on a GPU."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time

import pytest

from alphaf_orch.runs.machine.look import ask, kernel_check


def test_doctor_answers_within_its_time_and_leaves_nothing_behind(alphaf, tmp_path):
    begun = time.monotonic()
    result = alphaf("doctor", "--model", "tiny", "--gpus", "0", "--json")
    seconds = time.monotonic() - begun
    report = json.loads(result.stdout)
    assert result.exit_code == report["exit_code"] == 0, result.stdout
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path).parts[:2] for path in left} <= {("cache", "rows")}  # what any plan keeps there
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        assert seconds < 10
        assert {check["state"] for check in report["checks"] if check["name"] in ("triton", "gemm")} == {"skipped"}


def test_the_kernels_that_a_processor_can_run_are_right_on_it(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    programs = [
        (sys.executable, "kernel", "bitsandbytes", "cpu"),
        (sys.executable, "kernel", "triton", "cpu"),
        (sys.executable, "collective", "2", "gloo"),
        (sys.executable, "kernel", "varlen", "cpu"),
    ]
    *answers, varlen = ask(programs)
    assert "_flash_attention_forward" in varlen.trouble  # in torch's own words: it has none for a processor
    assert [answer.trouble for answer in answers] == ["", "", ""]
    names = ("bitsandbytes", "triton", "all_reduce")
    checks = [kernel_check(name, answer, "cpu") for name, answer in zip(names, answers, strict=True)]
    assert [check.state for check in checks] == ["ok", "ok", "ok"]
    assert "the sum over 2 processes is right" in checks[-1].evidence


def test_varlen_and_products_are_held_against_plain_torch(monkeypatch):
    """torch's kernel has no CPU: a stand-in by its own definition is right, one that mixes the sequences is not."""
    torch = pytest.importorskip("torch")
    from alphaf_orch.programs.common import Failure
    from alphaf_orch.programs.doctor import kernel

    def packed(borders):
        def varlen_attn(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, window_size):
            rows = []
            for start, end in itertools.pairwise(borders):
                q, k, v = (tensor[start:end].transpose(0, 1) for tensor in (query, key, value))
                rows.append(torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1))
            return torch.cat(rows)

        return varlen_attn

    right = [0]
    for length in kernel.SEQUENCES:
        right.append(right[-1] + length)
    torch.manual_seed(0)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", packed(right))
    assert kernel.varlen(torch, "cpu")["error"] < kernel.TOLERANCE / 2
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", packed([0, right[-1]]))
    with pytest.raises(Failure, match="varlen_attn computes wrong values"):
        kernel.varlen(torch, "cpu")
    assert kernel.gemm(torch, "cpu", 128, 2)["tflops"] > 0


def test_nothing_leaves_the_machine(tmp_path):
    """Every connection but to loopback is refused, in doctor and in what it starts, and noted."""
    guard = tmp_path / "sitecustomize.py"
    guard.write_text(
        "import sys\n"
        "def look(event, args):\n"
        "    if event == 'socket.getaddrinfo' or event == 'socket.connect' and isinstance(args[1], tuple):\n"
        "        host = args[0] if event == 'socket.getaddrinfo' else args[1][0]\n"
        "        if str(host) not in ('127.0.0.1', '::1', 'localhost', 'None'):\n"
        f"            open({str(tmp_path / 'left')!r}, 'a').write(str((event, host)))\n"
        "sys.addaudithook(look)\n",
        encoding="utf-8",
    )
    code = "from alphaf_orch.cli.main import main; main(['doctor', '--model', 'eeve'])"
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{':'.join(filter(None, sys.path))}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "korean_paths" in done.stdout, done.stderr
    assert not (tmp_path / "left").exists()
