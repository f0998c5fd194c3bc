"""`alphaf ablate`: what the words mean, what differs between arms, what the report says of made-up scores."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
import yaml
from report_runs import SETTINGS, STAGE, make_run, sample, write
from report_runs import add_result as add

from alphaf_orch.core.errors import ConfigError, RunStateError
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.experiments.ablation.evidence import checks, differences, read_batches
from alphaf_orch.experiments.ablation.factors import make_ablation, read_factors, split_values
from alphaf_orch.experiments.ablation.noise import read_noise
from alphaf_orch.experiments.ablation.noise import warnings as noise_warnings
from alphaf_orch.experiments.ablation.results import read_ablation
from alphaf_orch.experiments.experiment import Experiment, Outcome, experiment_paths
from alphaf_orch.report.ablation.page import ablation_report
from alphaf_orch.report.ablation.scores import verdict
from alphaf_orch.report.markdown import render_markdown
from alphaf_orch.scores.loaded import load_run
from alphaf_orch.scores.results import Sample
from alphaf_orch.settings.config import build_config


def arms(*words: str, seeds: int = 1, until=None, alpha=None, **settings):
    base = build_config({"model": "tiny", **settings}, "a test")
    factors = read_factors(words, alpha=alpha)
    return make_ablation("e", factors, base, seeds=seeds, until=until, request=EvalOptions(), asked={})


def sets(*words: str, **options) -> list[tuple[dict, dict]]:
    return [(arm.config.sft, arm.config.dpo) for arm in arms(*words, **options).arms]


def test_neftune_is_the_articles_alpha_against_none():
    assert sets("neftune") == [
        ({"neftune_noise_alpha": None, "seed": 42}, {"seed": 42}),
        ({"neftune_noise_alpha": 45, "seed": 42}, {"seed": 42}),
    ]
    assert [arm.variant for arm in arms("neftune", alpha=5.0).arms] == [
        "neftune_noise_alpha=off", "neftune_noise_alpha=5",
    ]  # fmt: skip


def test_adapter_is_qlora_lora_and_full():
    made = arms("adapter", sft={"lora_r": 8, "learning_rate": 1e-4})
    assert [arm.config.sft["adapter"] for arm in made.arms] == ["qlora", "lora", "full"]
    assert [arm.config.sft.get("lora_r") for arm in made.arms] == [8, 8, None], "full fine-tuning has no rank"
    assert all(arm.config.sft["learning_rate"] == 1e-4 for arm in made.arms)


def test_several_keys_make_a_grid_and_a_key_of_dpo_brings_dpo():
    made = arms("lora_r=8,16", "dpo.beta=0.05,0.1")
    assert [(arm.config.sft["lora_r"], arm.config.dpo["beta"]) for arm in made.arms] == [
        (8, 0.05), (8, 0.1), (16, 0.05), (16, 0.1),
    ]  # fmt: skip
    assert made.sections == ("sft", "dpo")
    assert made.evaluations[0].stages == ("dpo",)
    assert len({arm.name for arm in made.arms}) == 4
    only = arms("lora_r=8,16")
    assert (only.sections, only.evaluations[0].stages) == (("sft",), ("sft",))
    assert arms("lora_r=8,16", until="dpo").evaluations[0].stages == ("dpo",)


def test_the_layers_that_lora_is_put_on_have_names():
    assert sets("lora_target=qv,all") == [
        ({"lora_target_linear": False, "lora_target_modules": ["q_proj", "v_proj"], "seed": 42}, {"seed": 42}),
        ({"lora_target_linear": True, "lora_target_modules": None, "seed": 42}, {"seed": 42}),
    ]


def test_seeds_begin_at_the_settings_own():
    assert [arm.seed for arm in arms("lora_r=8,16", seeds=2, sft={"seed": 7}).arms] == [7, 7, 8, 8]


def test_values_are_split_at_commas_outside_of_brackets():
    assert split_values("8,32, 128") == ["8", "32", "128"]
    assert split_values("[q_proj,v_proj],[o_proj]") == ["[q_proj,v_proj]", "[o_proj]"]
    assert split_values("'a,b',{x: 1, y: 2},") == ["'a,b'", "{x: 1, y: 2}"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is named to be varied"),
        (("lora_r",), "'lora_r' names no values"),
        (("lora_r=8",), "lora_r has 1 value"),
        (("lora_r=8,8",), "a value of lora_r is given twice"),
        (("lora_r=8,16", "lora_r=32,64"), "lora_r is varied twice"),
        (("lora_rank=8,16",), "lora_rank: did you mean lora_r?"),
        (("lora_r=8,viel",), "lora_r is 'viel', which is no integer"),
        (("beta=0.1,0.2",), "beta: did you mean dpo.beta?"),
        (("seed=1,2",), "the seed is varied in every arm"),
        (("lora_target=qv,qkv",), "lora_target is 'qkv'"),
        (("output_dir=a,b",), "output_dir is set by alphaf"),
    ],
)
def test_what_cannot_be_varied_is_refused(words, said):
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        read_factors(words, alpha=None)


def test_other_refusals():
    with pytest.raises(ConfigError, match="--alpha is NEFTune's"):
        read_factors(["lora_r=8,16"], alpha=5.0)
    with pytest.raises(ConfigError, match="no DPO is run"):
        arms("dpo.beta=0.1,0.2", until="sft")


def test_a_dry_run_shows_the_one_line_and_starts_nothing(alphaf, tmp_path):
    said = alphaf("ablate", "neftune", "--model", "tiny", "--seeds", "2", "--dry-run")
    assert said.exit_code == 0, said.output
    changed = [line for line in said.output.splitlines() if line.startswith(("+", "-", "---"))]
    assert [line.split("#")[0].strip() for line in changed] == [
        "--- sft.yaml", "-neftune_noise_alpha: null", "+neftune_noise_alpha: 45",
    ]  # fmt: skip
    assert "$ " not in said.output
    whole = alphaf("ablate", "neftune", "--model", "tiny", "--seeds", "2", "--dry-run", "--full").output
    assert "$ alphaf eval --run ablate-neftune-tiny/neftune_noise_alpha-45.s43 --stages sft" in whole
    assert whole.count("neftune_noise_alpha: 45  # yours; the recipe has null") == 3  # of the proof, and of two arms
    assert not (tmp_path / "실행").exists()


def test_bad_words_end_the_command_with_code_2(alphaf):
    refused = alphaf("ablate", "lora_rank=8,16", "--model", "tiny")
    assert (refused.exit_code, "did you mean lora_r?" in refused.stderr) == (2, True)
    assert alphaf("ablate", "neftune").exit_code == 2


# Made-up arms: what the report says of them.


def written(words=("neftune",), seeds: int = 2, gain: float = 0.0, n: int = 120, model: str = "tiny") -> Experiment:
    """Write the arms of an experiment as finished runs; the second variant answers `gain` of the rows more."""
    made = arms(*words, seeds=seeds, model=model)
    paths = experiment_paths(made.name)
    for arm in made.arms:
        second = arm.variant != made.variants[0]
        run = make_run(paths.arm(arm.name).root, base_revision="local:base")
        manifest = json.loads(run.manifest.read_text(encoding="utf-8"))
        recipe = {"lora_r": 8, "sample_packing": False, "sequence_len": 512, **arm.config.sft}
        manifest["stages"]["sft"] = {**STAGE, "argv": ["p"], "command": "p", "log": "logs/sft.log"}
        manifest["stages"]["sft"] |= {"spec": {"recipe": recipe, "global_batch_size": 2}, "seconds": 60.0}
        manifest["stages"]["sft"]["result"] = {"steps": 2, "loss_first": 2.0, "loss_last": 1.0}
        run.manifest.write_text(json.dumps(manifest), encoding="utf-8")
        (run.root / "rendered" / "sft.yaml").write_text(
            "".join(
                f"{key}: {json.dumps(value)}\n" for key, value in {"output_dir": f"{run.root}/sft", **recipe}.items()
            ),
            encoding="utf-8",
        )
        write(run.root / "sft" / "merged" / "config.json", json.dumps({"hidden_size": 64}))
        write(run.report("data"), json.dumps({"rows": 10, "tokens": {"total": 1000, "max": 100}}))
        first = {"first_weights": f"f{arm.seed}" * 8, "trainable": "t", "parameters": 4096}
        lines = [first, {"step": 1, "ids": f"a{arm.seed}", "rows": [2, 2], "lengths": [100, 400]},
                 {"step": 2, "ids": f"b{arm.seed}", "rows": [2], "lengths": [100]}]  # fmt: skip
        write(run.batches("sft"), "".join(json.dumps(line) + "\n" for line in lines))
        metrics = {
            "step": 2,
            "loss": 1.0,
            "peak_memory_mib": 2048.0,
            "trainable_parameters": 1234567,
            "tokens_per_s": 9.0,
        }
        write(run.metrics("sft"), json.dumps(metrics) + "\n")
        right = round(n * (0.4 + (gain if second else 0)))
        rows = [sample(f"q{i}", float((i * 7 + (arm.seed or 0)) % n < right)) for i in range(n)]
        add(run, "sft", "finance_ko_mcq", rows)
        cited = [Sample(f"r{i}", "문제", "답", "정답", {"citation_format": float(i % 3 == 0)}) for i in range(60)]
        add(run, "sft", "finance_ko_rag", cited)
    return made


def read(experiment: Experiment, failed: tuple[str, ...] = ()):
    outcomes = [
        Outcome(arm.name, "failed", 7, 1.0, "sft exited with 1: boom")
        if arm.name in failed
        else Outcome(arm.name, "done")
        for arm in experiment.arms
    ]
    return read_ablation(experiment, experiment_paths(experiment.name), outcomes)


def test_a_planted_effect_is_called_better():
    result = read(written(gain=0.4))
    (comparison,) = result.comparisons
    assert comparison.overall.verdict == "better"
    assert comparison.overall.estimate == pytest.approx(0.2, abs=0.01), "half of it: two tasks of equal weight"
    assert "better. Overall 36.7% → 56.7%" in verdict(comparison).en
    assert "나아짐" in verdict(comparison).ko
    assert comparison.tasks["finance_ko_rag", "citation_format"].verdict == "none"
    report = ablation_report(result)
    markdown = render_markdown(report, "en")
    assert "citation format" in markdown
    assert "By seed" in markdown
    opening = report.sections[0].blocks[0]
    assert (opening.kind, opening.tone) == ("verdict", "good")
    after, before = comparison.after, comparison.before
    assert opening.headline.en.startswith(f"{after} scored 20.0 points higher than {before} (p")
    assert opening.headline.en.endswith(f": use {after}.")
    assert opening.headline.ko.endswith(f"{after} 설정을 쓰세요.")


def test_no_effect_is_called_no_difference_shown():
    result = read(written(gain=0.0))
    assert "no difference shown" in verdict(result.comparisons[0]).en
    assert "차이 확인 안 됨" in verdict(result.comparisons[0]).ko
    assert "no proof that there is none" in render_markdown(ablation_report(result), "en")


def test_a_pipe_among_the_rendered_files_is_not_waited_for():
    _, one, other = read(written()).pairs()[0]
    os.mkfifo(one.paths.rendered("more.yaml"))
    with pytest.raises(RunStateError, match="it is a pipe"):
        differences(one.paths, other.paths)


def test_the_report_proves_that_one_line_differs():
    result = read(written())
    _, one, other = result.pairs()[0]
    (difference,) = differences(one.paths, other.paths)
    assert (difference.file, difference.lines) == ("sft.yaml", 1)
    assert difference.removed == ("neftune_noise_alpha: null",)
    assert difference.added == ("neftune_noise_alpha: 45",)
    found = checks(one, other, "sft")
    assert [check.same for check in found] == [True] * 8, found
    markdown = render_markdown(ablation_report(result), "en")
    assert "Under each of 2 seeds the files of the training differ in exactly one line." in markdown
    assert "the 4,096 trained parameters start from the same weights: hash f42f42f42f42" in markdown
    assert "-neftune_noise_alpha: null\n+neftune_noise_alpha: 45" in markdown
    assert str(experiment_paths("e").root) not in markdown


@pytest.mark.parametrize(
    ("file", "change", "failing"),
    [
        ("metrics/sft.batches.jsonl", ('"first_weights": "f42', '"first_weights": "f43'), "First weights"),
        ("metrics/sft.batches.jsonl", ('"ids": "b42"', '"ids": "c42"'), "Data order"),
        ("metrics/sft.batches.jsonl", ('"lengths": [100]', '"lengths": [101]'), "Packing and lengths"),
        ("manifest.json", ('"sample_packing": false', '"sample_packing": true'), "Packing and lengths"),
        ("manifest.json", ('"seed": 42', '"seed": 43'), "Seed"),
        ("manifest.json", ('"local:base"', '"local:else"'), "Base model"),
        ("manifest.json", ('"axolotl": "0.19.0"', '"axolotl": "0.20.0"'), "Versions of the tools"),
        ("eval/sft/finance_ko_mcq.json", ('"num_fewshot": 0', '"num_fewshot": 5'), "Evaluation"),
        ("eval/sft/finance_ko_mcq.jsonl", ('"prompt": "문제"', '"prompt": "다른 문제"'), "Evaluation"),
    ],
)
def test_what_is_not_the_same_is_found(file, change, failing):
    experiment = written(seeds=1)
    place = experiment_paths("e").arm(experiment.arms[1].name).root / file
    text = place.read_text(encoding="utf-8")
    assert change[0] in text
    place.write_text(text.replace(*change), encoding="utf-8")
    _, one, other = read(experiment).pairs()[0]
    found = checks(one, other, "sft")
    assert [check.what.en for check in found if check.same is False] == [failing]


def test_batches_that_were_not_recorded_are_not_called_the_same():
    experiment = written(seeds=1)
    experiment_paths("e").arm(experiment.arms[1].name).batches("sft").unlink()
    _, one, other = read(experiment).pairs()[0]
    order = checks(one, other, "sft")[2]
    assert (order.what.en, order.same) == ("Data order", None)


def begun(change=lambda _: None, **recipes):
    """Return the check of the first weights of two arms and the report, the second arm's line of them changed."""
    experiment = written(words=recipes.get("words", ("neftune",)), seeds=1)
    file = experiment_paths("e").arm(experiment.arms[1].name).batches("sft")
    first, *rest = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    lines = [*([] if change(first) == "drop" else [first]), *rest]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    result = read(experiment)
    _, one, other = result.pairs()[0]
    check = checks(one, other, "sft")[1]
    return check, render_markdown(ablation_report(result), "en")


ALARM = "Some arms that ought to start from the same weights do not, or are not known to"


def test_arms_that_ought_to_start_alike_and_do_not_are_warned_of():
    check, markdown = begun(lambda first: first.update(first_weights="other"))
    assert (check.same, check.planned, check.warning) == (False, False, True)
    assert ALARM in markdown
    assert "though the seed is the same" in markdown
    assert ALARM not in begun()[1]


def test_arms_of_another_rank_start_from_other_weights_by_what_is_varied():
    check, markdown = begun(lambda f: f.update(trainable="u", parameters=8192), words=("lora_r=8,16",))
    assert (check.same, check.planned, check.warning) == (False, True, False)
    assert check.evidence.en == "they start from different ones (4,096 ≠ 8,192), because lora_r differs"
    assert "differs with what is varied" in markdown
    assert ALARM not in markdown


def test_qlora_and_lora_start_from_one_adapter_over_bases_that_are_not_quantised_alike():
    check, _ = begun(words=("adapter=lora,qlora",))
    assert check.same is True
    assert check.evidence.en.endswith("the frozen base is not quantised alike")


def test_an_arm_of_an_older_version_beside_a_new_one_is_said():
    check, markdown = begun(lambda _: "drop")
    assert (check.same, check.warning) == (None, True)
    assert ALARM in markdown
    assert "recorded in one arm only" in markdown


def test_sharded_weights_are_not_called_the_same():
    check, _ = begun(lambda first: first.update(first_weights=None))
    assert (check.same, check.warning) == (None, False)


def test_a_step_that_was_trained_again_counts_once_and_half_a_line_not_at_all(tmp_path):
    run = make_run(tmp_path / "r")
    lines = [
        '{"step": 1, "ids": "a", "rows": [1], "lengths": [5]}',
        '{"step": 1, "ids": "b", "rows": [1], "lengths": [6]}',
    ]
    write(run.batches("sft"), "\n".join(lines) + '\n{"step": 2, "ids')
    found = read_batches(run, "sft")
    assert (dict(found.ids), dict(found.shapes)) == ({1: "b"}, {1: ((1, 6),)})


def test_neftunes_noise_is_that_of_the_lengths_met():
    experiment = written(seeds=1)
    off, on = (read_noise(load_run(experiment_paths("e").arm(arm.name))) for arm in experiment.arms)
    # Rows of 100, 400, 100 tokens, two each: the mean of 1/sqrt(L) is (0.1 + 0.05 + 0.1) / 3.
    length = (3 / 0.25) ** 2
    assert on.mean == pytest.approx(length)
    assert (on.shortest, on.longest, on.row_mean, on.hidden_size) == (100, 400, 100.0, 64)
    assert on.bound == pytest.approx(45 / math.sqrt(length * 64))
    assert on.per_token == pytest.approx(45 / math.sqrt(3 * length))
    assert on.meant == pytest.approx(45 * math.sqrt(100 / length))
    assert (off.bound, off.per_token, off.alpha) == (0.0, 0.0, None)
    said = [text.en for text in noise_warnings(on)]
    assert len(said) == 2
    assert "alpha 45 means something else here" in said[0]
    assert "up to 2.0 times" in said[1]
    assert noise_warnings(off) == []


def test_noise_by_the_paper_and_by_the_numbers_of_the_readme():
    """facts: at d=4096, alpha 45 is 0.0311 at L=512 and 0.0110 at L=4096."""
    from alphaf_orch.experiments.ablation.noise import Noise

    assert Noise(45.0, 4096, 512, 512.0, 512, 512.0, False).bound == pytest.approx(0.0311, abs=5e-5)
    packed = Noise(45.0, 4096, 4096, 4096.0, 4096, 512.0, True)
    assert packed.bound == pytest.approx(0.0110, abs=5e-5)
    assert packed.meant == pytest.approx(45 / math.sqrt(8))
    assert "packed length" in noise_warnings(packed)[0].en
    assert "not known" in noise_warnings(Noise(45.0, 64, None, None, None, None, False))[0].en


def test_a_failed_arm_is_named_and_the_seeds_that_are_left_are_compared():
    experiment = written(seeds=2)
    failed = experiment.arms[3].name
    result = read(experiment, failed=(failed,))
    assert result.comparisons[0].seeds == (42,)
    markdown = render_markdown(ablation_report(result), "en")
    assert "boom" in markdown
    assert "With one seed nothing is known" in markdown


def test_nothing_to_compare_is_said():
    experiment = written(seeds=1)
    result = read(experiment, failed=(experiment.arms[1].name,))
    assert result.comparisons[0].overall is None
    assert "there are no scores to compare" in verdict(result.comparisons[0]).en
    render_markdown(ablation_report(result), "ko")


def test_holm_is_over_all_variants_of_a_grid():
    experiment = written(("lora_r=8,16,32",), seeds=2, gain=0.0)
    result = read(experiment)
    effects = [effect for comparison in result.comparisons for effect in comparison.tests]
    assert len(effects) == 6
    assert min(effect.p_holm for effect in effects) == min(1.0, 6 * min(effect.p for effect in effects))


def test_the_overall_score_of_one_task_is_that_tasks_test_and_counts_once():
    experiment = written(gain=0.1)
    for arm in experiment.arms:
        for file in experiment_paths(experiment.name).arm(arm.name).evaluations.glob("sft/finance_ko_rag.*"):
            file.unlink()
    (comparison,) = read(experiment).comparisons
    (only,) = comparison.tasks.values()
    assert comparison.overall == only
    assert (only.p_holm, only.tests) == (only.p, 1)
    assert comparison.tests == [only]


def test_the_cost_table_has_parameters_memory_time_and_score():
    markdown = render_markdown(ablation_report(read(written(("adapter",), seeds=1))), "en")
    row = next(line for line in markdown.splitlines() if line.startswith("| adapter=full |"))
    assert "1,234,567" in row
    assert "2.0 GiB" in row
    assert "1:00" in row
    assert "36.7%" in row


def test_settings_are_the_arms_own(tmp_path):
    """A finished arm can be made again from its settings file."""
    made = arms("neftune", seeds=1, data=("sample",))
    from alphaf_orch.settings.config import dump_config

    again = build_config(yaml.safe_load(dump_config(made.arms[1].config)), "x")
    assert again == made.arms[1].config
    assert Path(SETTINGS["backend"]).name == "hf"
