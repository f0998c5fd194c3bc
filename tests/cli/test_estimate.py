"""`alphaf estimate`, and its short form in plans and experiments, without a GPU and without weights."""

import json
import re

import pytest
from measurements import H100, REPORT

from alphaf_orch.cli import plan_view
from alphaf_orch.cli.estimate_view import duration
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.record import write_manifest
from alphaf_orch.planning import forecast as forecast_module
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.forecast import card_bytes, hardware
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.runs.remember import remember
from alphaf_orch.settings.options import Options, settings

TRAINED = ("--model", "eeve", "--gpus", "1", "--set", "max_steps=100")


def values(alphaf, *args):
    done = alphaf("estimate", *args, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def stage(found, name):
    return next(one for one in found["stages"] if one["name"] == name)


def test_it_says_memory_by_part_time_disk_hours_and_price(alphaf):
    done = alphaf("estimate", "--model", "eeve", "--rate", "2.5")
    assert done.exit_code == 0, done.output
    for text in (
        "run eeve on 8 x NVIDIA H100 80GB HBM3 (assumed: none is here), 79.6 GiB each",
        "weights", "adapter", "gradients", "optimizer", "activations", "logits and loss", "DPO's reference pass",
        "the largest micro_batch_size that fits is", "tokens estimated from bytes", "disk: about 105.8 GiB",
        "GPU-hours", "at 2.5 a GPU-hour", "by formula",
    ):  # fmt: skip
        assert text in done.output, text


@pytest.mark.parametrize(
    ("card", "words"),
    [("gpu: NVIDIA L40S", "on 4 x NVIDIA L40S, 44."), ("", "on 4 x NVIDIA H100 80GB HBM3 (assumed: none is here)")],
)
def test_the_machine_is_the_one_of_the_site_that_the_settings_name(alphaf, tmp_path, card, words):
    (tmp_path / "site.yaml").write_text(f"gpus_per_node: 4\n{card}\n")
    (tmp_path / "c.yaml").write_text("model: eeve\ngpus: 4\non: slurm:./site.yaml\n")
    done = alphaf("estimate", "--config", "c.yaml")
    assert words in done.output


def test_its_json_adds_up(alphaf):
    found = values(alphaf, *TRAINED, "--rate", "2")
    sft = stage(found, "sft")
    parts = {key: size for key, size in sft["memory"].items() if key != "unseen"}
    assert sum(parts.values()) == sft["memory_total"]
    assert sft["memory_total"] - sft["memory"]["unseen"] == sft["memory_recorded"]
    assert sft["peak"]["low"] < sft["peak"]["value"] == sft["memory_total"] < sft["peak"]["high"]
    assert (sft["steps"]["value"], sft["fits"]) == (100, True)
    assert found["gpu_hours"]["value"] == pytest.approx(found["seconds"]["value"] / 3600)
    assert found["price"]["high"] == pytest.approx(2 * found["gpu_hours"]["high"])
    assert found["seconds"]["value"] == pytest.approx(sum(one["seconds"]["value"] for one in found["stages"]))


def test_what_does_not_fit_is_said(alphaf):
    done = alphaf("estimate", *TRAINED, "--gpu-memory", "24")
    assert re.search(r"sft: 2\d\.\d GiB \(.*\) of 23\.9 GiB, does NOT fit", done.output), done.output
    assert "no micro_batch_size fits" in done.output


def test_data_that_give_no_step_are_said(alphaf):
    assert "sft: these data give 8 rank(s) not one step" in alphaf("estimate", "--model", "eeve").output


def leave_measured() -> None:
    """Leave in the cache what a run of TRAINED on one H100 leaves when its SFT is done."""
    config, paths = settings(Options(model="eeve", run="earlier", gpus=1, sets=("max_steps=100",)))
    plan = make_plan(config, Machine((H100,), 16, ("0",)), paths.root, Scope(dry=True))
    sft = next(one for one in plan.stages if one.name == "sft")
    losses = [
        {"time": 2e9 + 6 * step, "step": step, "loss": 1.0, "tokens_per_s": 5180.0, "peak_memory_mib": 24453.0}
        for step in range(1, 11)
    ]
    paths.metrics("sft").parent.mkdir(parents=True)
    paths.metrics("sft").write_text("".join(json.dumps(line) + "\n" for line in losses), encoding="utf-8")
    times = {"started": "2026-11-26T12:00:00+00:00", "ended": "2026-11-26T12:02:00+00:00"}
    remember(plan, sft, {**times, "seconds": 118.0, "peak_memory_mib": 22093, "versions": {}}, pytest.fail)


def test_a_run_measured_here_goes_before_the_formula(alphaf):
    formula = stage(values(alphaf, *TRAINED, "--card", H100), "sft")
    assert (formula["memory_basis"], formula["time_basis"]) == ("by formula", "by formula")
    leave_measured()
    known = stage(values(alphaf, *TRAINED, "--card", H100), "sft")
    assert known["memory_basis"] == "measured here (run earlier)"
    assert known["peak"]["value"] == 24453 * 2**20 + formula["memory"]["unseen"]
    # Its rows were not counted there: the speed holds, the steps are those that are asked for now.
    assert known["time_basis"] == "measured here (run earlier), with other data"
    assert known["tokens_per_s"]["value"] == pytest.approx(5180)


def test_another_micro_batch_is_scaled_from_it(alphaf):
    leave_measured()
    formula = stage(values(alphaf, *TRAINED), "sft")["memory_recorded"]
    larger = stage(values(alphaf, *TRAINED, "--set", "micro_batch_size=4"), "sft")
    assert larger["memory_basis"] == "scaled from run earlier"
    moved = larger["memory_recorded"] - formula + 24453 * 2**20
    assert larger["peak"]["value"] == pytest.approx(moved + larger["memory"]["unseen"])


def test_the_plan_has_a_line_for_each_training(alphaf):
    lines = alphaf("plan", "--model", "eeve").output.splitlines()
    (sft,) = [line for line in lines if re.match(r"sft: .*GiB", line)]
    assert sft.endswith("by formula")
    (whole,) = [line for line in lines if line.startswith("in all: ")]
    assert "GPU-hours on 8 x NVIDIA H100 80GB HBM3 (assumed: none is here)" in whole


def test_a_dry_run_of_an_experiment_adds_its_arms_up(alphaf):
    done = alphaf("ablate", "neftune", "--model", "tiny", "--seeds", "2", "--dry-run")
    assert re.search(
        r"^4 runs, one after another, without evaluations: .*, disk about 1\d\d\.\d MiB$", done.output, re.M
    )
    one, two = (
        float(re.search(r"disk about ([\d.]+) GiB", alphaf("bakeoff", "--models", models, "--dry-run").output)[1])
        for models in ("eeve,qwen", "eeve,qwen,orion")
    )
    assert one < two


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5999, "100 min"), (6000, "1.7 h"), (172_800, "2.0 days")],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_the_card_is_the_one_said_the_one_here_or_the_article_s():
    here = Machine(("NVIDIA A100-SXM4-40GB",), 16, ("0",), 42_400_000_000)
    assert (hardware(here, 1).card, hardware(here, 1).gpu_memory) == (here.gpus[0], here.memory)
    assert not hardware(here, 1).assumed
    said = hardware(here, 1, card=H100, gpu_memory=card_bytes(40))
    assert (said.card, said.gpu_memory, said.assumed) == (H100, 42_750_000_000, True)
    assert hardware(Machine((), 2), 8).gpu_memory == 85_500_000_000
    assert hardware(Machine((), 2), 1, card=here.gpus[0]).gpu_memory == card_bytes(40), "its name says 40GB"
    assert hardware(Machine((), 2), 0).card == ""


@pytest.mark.parametrize(
    ("card", "gigabytes"), [("NVIDIA L4", 22.5), ("NVIDIA GH200 480GB", 96), ("NVIDIA A100-SXM4-40GB", 40)]
)
def test_a_card_that_is_said_brings_its_memory(alphaf, card, gigabytes):
    sft = stage(values(alphaf, *TRAINED, "--card", card), "sft")
    assert sft["room"] == card_bytes(gigabytes)


def test_the_engine_is_chosen_for_the_card_that_is_said(alphaf):
    lora = ("--model", "eeve", "--gpus", "8", "--set", "adapter=lora")
    by_name, by_size = (
        alphaf("estimate", *lora, *said).output
        for said in (("--card", "NVIDIA A100-SXM4-40GB"), ("--gpu-memory", "40"))
    )
    for output in (by_name, by_size):
        assert "engine: fsdp2" in output
        assert not re.search("^sft: .*does NOT fit", output, re.M)


def test_of_a_card_that_does_not_tell_its_memory_it_is_asked(alphaf):
    for card in ("Some Accelerator", "NVIDIA A100", "NVIDIA GeForce RTX 4090 Laptop GPU"):
        done = alphaf("estimate", *TRAINED, "--card", card)
        assert done.exit_code == 2, done.output
        assert "--gpu-memory" in done.output
        assert stage(values(alphaf, *TRAINED, "--card", card, "--gpu-memory", "24"), "sft")["room"] == card_bytes(24)


def test_a_second_card_of_this_machine_is_here():
    here = Machine((H100, "NVIDIA L4"), 16, ("0", "1"), card_bytes(22.5))
    assert hardware(here, 2, card="NVIDIA L4").gpu_memory == here.memory
    assert not hardware(here, 2, card="NVIDIA L4").assumed


def write_rows(place, count):
    turns = [{"role": "user", "content": "기준금리는?"}, {"role": "assistant", "content": "3.5 %입니다."}]
    place.write_text(json.dumps({"messages": turns}) + "\n", encoding="utf-8")
    place.write_text(place.read_text() * count, encoding="utf-8")
    return str(place)


def test_only_rows_of_these_data_are_counted_by_this_run(alphaf, tmp_path):
    few, many = (write_rows(tmp_path / f"{count}.jsonl", count) for count in (20, 500))
    settings_of = ("--model", "tiny", "--run", "t1", "--gpus", "0")
    config, paths = settings(Options(model="tiny", run="t1", gpus=0, data=(few,)))
    plan = make_plan(config, Machine((), 2), paths.root, Scope(dry=True, merge=True))
    counting = next(one for one in plan.stages if one.name == "data")
    paths.report("data").parent.mkdir(parents=True)
    paths.report("data").write_text(json.dumps({**REPORT, "rows": 20, "sequence_len": 1024}), encoding="utf-8")
    entry = {"state": "done", "fingerprint": counting.fingerprint, "started": "", "ended": "", "result": {}}
    write_manifest(paths.manifest, {"format": 1, "stages": {"data": entry}})
    found = stage(values(alphaf, *settings_of, "--data", few), "sft")
    assert (found["rows"], found["rows_basis"]) == (20, "counted by this run")
    for other in (("--data", many), ("--data", few, "--set", "sft.sequence_len=256")):
        found = stage(values(alphaf, *settings_of, *other), "sft")
        assert found["rows_basis"] == f"tokens estimated from bytes, {found['rows']} rows checked"
    write_manifest(paths.manifest, {"format": 1, "stages": {"data": {**entry, "state": "failed"}}})
    assert "estimated" in stage(values(alphaf, *settings_of, "--data", few), "sft")["rows_basis"]


def test_a_training_on_the_processor_has_its_speed_beside_one_on_a_gpu(alphaf):
    beside = values(alphaf, *TRAINED, "--dpo-gpus", "0")
    alone = values(alphaf, "--model", "eeve", "--gpus", "0", "--dpo-gpus", "0", "--set", "max_steps=100")
    assert stage(beside, "dpo")["tokens_per_s"] == stage(alone, "dpo")["tokens_per_s"]
    assert stage(beside, "dpo")["peak"] == stage(alone, "dpo")["peak"]
    shown = alphaf("estimate", *TRAINED, "--dpo-gpus", "0").output
    assert "memory of one GPU or the process, by formula" in shown
    assert "memory of one GPU, by formula" in alphaf("estimate", *TRAINED).output
    assert "memory of the process, by formula" in alphaf("estimate", "--model", "tiny", "--gpus", "0").output


UNPACKED = ("--set", "sft.sample_packing=false", "--set", "sft.pad_to_sequence_len=false")


def test_what_fits_has_a_micro_batch_size_that_fits(alphaf, tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 500)
    found = values(alphaf, "--model", "qwen", "--gpus", "1", "--gpu-memory", "28", "--data", rows, *UNPACKED)
    sft = stage(found, "sft")
    assert sft["fits"] and sft["largest_micro_batch_size"] >= 2


def test_the_largest_micro_batch_size_knows_what_was_measured(alphaf):
    leave_measured()
    peak = stage(values(alphaf, *TRAINED), "sft")["peak"]["value"]
    for more, fits in ((1.001, True), (0.999, False)):
        gigabytes = peak * more / card_bytes(1)
        sft = stage(values(alphaf, *TRAINED, "--card", H100, "--gpu-memory", str(gigabytes)), "sft")
        assert (sft["memory_basis"], sft["fits"]) == ("measured here (run earlier)", fits)
        assert (sft["largest_micro_batch_size"] >= 2) is fits


def test_a_dry_run_of_an_experiment_says_what_a_plan_says(alphaf):
    done = alphaf("ablate", "neftune", "--model", "eeve", "--gpus", "8", "--dry-run")
    assert "these data give 8 rank(s) not one step" in alphaf("plan", "--model", "eeve", "--gpus", "8").output
    assert re.search(r"^\S+: sft: these data give 8 rank\(s\) not one step$", done.output, re.M), done.output
    assert "GPU-hours on 8 x NVIDIA H100 80GB HBM3 (assumed: none is here), disk about" in done.output


def test_what_was_measured_is_read_once_for_all_arms(alphaf, monkeypatch):
    reads = []
    for module in (forecast_module, plan_view):
        monkeypatch.setattr(module, "read_measured", lambda: reads.append(1) or (), raising=False)
    assert alphaf("ablate", "neftune", "--model", "tiny", "--seeds", "3", "--dry-run").exit_code == 0
    assert len(reads) == 1
