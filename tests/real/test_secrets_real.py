"""No secret of the environment is written by a chain of the real tools."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from canary import ENVIRONMENT, leaks


def test_axolotl_that_prints_its_environment_and_fails(tmp_path):
    """A plugin of the user's prints all it can reach, in training, behind axolotl's own debug.log."""
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / "leaky.py").write_text(
        "import json, os\nfrom axolotl.integrations.base import BasePlugin\n\n\nclass Leaky(BasePlugin):\n"
        "    def pre_model_load(self, cfg):\n"
        "        print(dict(os.environ))\n"
        "        print(json.dumps(dict(os.environ)))\n"
        "        raise RuntimeError('no answer from ' + os.environ['HTTPS_PROXY'])\n",
        encoding="utf-8",
    )
    runs, cache = tmp_path / "실행", tmp_path / "cache"
    place = os.pathsep.join((str(folder), str(Path(__file__).parents[2])))
    own = {"ALPHAF_RUNS": str(runs), "ALPHAF_CACHE": str(cache), "PYTHONPATH": place}
    done = subprocess.run(
        [sys.executable, "-m", "alphaf_orch", "sft", "--model", "tiny", "--set", "plugins=[leaky.Leaky]", "-v"],
        env={**os.environ, **ENVIRONMENT, **own, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=600,
        check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 7, done.stdout + done.stderr
    assert "HTTPS_PROXY" in (runs / "tiny" / "logs" / "sft.log").read_text(encoding="utf-8")
    assert leaks(runs, done.stdout, done.stderr) == []
    assert leaks(cache) == []
    assert leaks(tmp_path / "hf") == []
