"""Several mistakes are told in one go: of a config with file and line, of whatever a model refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphaf_orch.core.errors import ConfigError, DataError
from alphaf_orch.core.several import found_in, raise_all, told_together
from alphaf_orch.programs.mistakes import SHOWN
from alphaf_orch.settings.config import build_config
from alphaf_orch.settings.options import Options, settings

CONFIG = """\
modle: tiny
gpus: 많이
on_oom: retyr
sft:
  learnig_rate: 1e-4
  lora_r: 0
dpo:
  beta: -1
trackers:
  use_wandbb: true
notify:
  lang: fr
"""


def error(what: str, where: str, code: str = "config.a", fix: str = "fix it") -> ConfigError:
    return ConfigError(what, where=where, fix=fix, code=code)


def test_one_mistake_is_told_as_it_is_and_none_is_nothing() -> None:
    one = error("가", "f line 3")
    assert told_together([one]) is one
    raise_all([])


def test_several_are_one_error_of_the_firsts_kind_in_the_order_of_the_lines() -> None:
    found = told_together([error("둘", "설정.yaml line 9, key b"), error("하나", "설정.yaml line 2", fix="mend a")])
    assert isinstance(found, ConfigError)
    assert found.what == "2 mistakes:\n  line 2: 하나\n  line 9, key b: 둘"
    assert (found.where, found.fix, found.code) == ("설정.yaml", "fix it", "config.a")
    assert [part.what for part in found.parts] == ["하나", "둘"]
    again = told_together([found, error("셋", "설정.yaml", code="config.b")])
    assert len(again.parts) == 3
    assert again.code == "config.several_mistakes"


def test_the_first_of_many_are_told_and_the_rest_is_counted() -> None:
    found = told_together([error(f"{n}", f"f line {n}") for n in range(1, 31)])
    assert found.what.startswith(f"30 mistakes, the first {SHOWN} of them:\n")
    assert len(found.what.splitlines()) == SHOWN + 1
    assert len(found.parts) == 30


def test_mistakes_of_several_files_say_each_of_them() -> None:
    first = DataError("가", where="a.jsonl line 1", fix="x", code="data.a")
    found = told_together([first, error("나", "b.yaml line 1")])
    assert isinstance(found, DataError)
    assert "  a.jsonl line 1: 가\n  b.yaml line 1: 나" in found.what


def test_every_check_is_made_whatever_the_others_found() -> None:
    def bad() -> None:
        raise error("가", "f")

    assert len(found_in([bad, lambda: None, bad])) == 2
    with pytest.raises(ZeroDivisionError):
        found_in([lambda: 1 // 0])


def test_all_mistakes_of_a_config_are_told_with_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "우리 설정.yaml"
    file.write_text(CONFIG, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        settings(Options(model="tiny", run="r", config=file))
    told = caught.value.what.splitlines()
    assert told[0] == "8 mistakes:"
    assert [line.split(":")[0].strip() for line in told[1:]] == [
        "line 1, key modle", "line 2, key gpus", "line 3, key on_oom", "line 5, key sft.learnig_rate",
        "line 6, key sft.lora_r", "line 8, key dpo.beta", "line 10, key trackers.use_wandbb",
        "line 12, key notify.lang",
    ]  # fmt: skip
    assert caught.value.where == str(file)


def test_one_mistake_of_a_config_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "설정.yaml"
    file.write_text("model: tiny\nmodle: x\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        settings(Options(run="r", config=file))
    assert caught.value.where == f"{file} line 2, key modle"
    with pytest.raises(ConfigError) as said:
        build_config({"model": "tiny", "modle": "x"}, "the command line")
    assert said.value.where == "the command line, key modle"


def test_a_value_of_a_union_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "설정.yaml"
    file.write_text("model: tiny\nnotify: {on: [언제나], command: [x]}\ngpus: -1\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        settings(Options(run="r", config=file))
    assert len(caught.value.parts) == 2
