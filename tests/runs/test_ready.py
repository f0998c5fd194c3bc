"""What runs share is made before the rest is planned."""

from data_rows import hub_cache_with_rows
from rich.console import Console

from alphaf_orch.core.paths import PACKAGE
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.runs import ready
from alphaf_orch.settings.config import RunConfig


def names(plan):
    return [stage.name for stage in plan.stages]


def test_what_lacks_is_made_and_the_plan_is_made_anew_from_it(cpu, tmp_path, monkeypatch):
    asked = []

    def fetches(plan, machine, console, **how):
        asked.append((names(plan)[0], machine, how))
        hub_cache_with_rows(tmp_path / "hf", pairs=True)

    monkeypatch.setattr(ready, "run_plan", fetches)
    said = RunConfig(model="tiny", dpo_data=("org/name",))
    plan = make_plan(said, cpu, tmp_path / "r", Scope(("dpo",), online=True, upstream="u"))
    assert (plan.prepares, plan.resolved.data["dpo"][0].snapshot) == (True, None)
    found = ready.ready_plan(plan, Console(), verbose=True)
    assert asked == [("fetch_dpo_data", cpu, {"prepare": True, "verbose": True, "only": None})]
    assert names(found) == names(plan)[1:] == ["dpo_data", "dpo", "merge_dpo"]
    assert found.resolved.data["dpo"][0].snapshot is not None
    assert found.resolved.config is said
    assert ready.ready_plan(found, Console(), verbose=True) is found, "nothing lacks, so nothing is looked at again"
    assert len(asked) == 1


def test_it_stands_in_one_place():
    told = [path.name for path in PACKAGE.rglob("*.py") if "prepare=True" in path.read_text("utf-8")]
    assert told == ["ready.py"]
