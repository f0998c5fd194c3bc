"""`--on`: what would run here is submitted, told, not doubled; a job makes its stage of it, and nothing else."""

import json
import re
import time

import in_process
import pytest
import yaml
from fake_scheduler import stand_in

from alphaf_orch.clusters.scheduler import JobState
from alphaf_orch.clusters.submitted import read_events
from alphaf_orch.core.lock import held
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.core.record import read_manifest
from alphaf_orch.core.stop import wish
from alphaf_orch.runs import cancel, submission

CHAIN = ["data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo"]


class Site:
    """A Slurm in memory, stand-ins for the tools in this process, and the command."""

    def __init__(self, alphaf, fake, tmp_path, monkeypatch):
        self.scheduler = stand_in(monkeypatch)
        self.fake, self.call, self.patch = fake, alphaf, monkeypatch
        self.profile = tmp_path / "우리 곳.yaml"
        self.profile.write_text("gpus_per_node: 0\nmax_requeues: 2\n")
        self.on = f"slurm:{self.profile}"
        self.runs = tmp_path / "실행"
        in_process.bring(monkeypatch)

    def __call__(self, *args, code=0):
        found = self.call(*args)
        assert found.exit_code == code, found.output
        return found.output

    def out(self, *args):
        return self.call(*args).stdout

    def submit(self, command="run", run="시험", code=0, **_):
        return self(
            command, "--model", "tiny", "--run", run, "--config", str(self.fake.config), "--on", self.on, code=code
        )

    def paths(self, run="시험"):
        return RunPaths(self.runs / run)

    def work(self, run="시험", *, until=None, code=0, restart=0):
        """Do what the scheduler would: each job that waits, in order, up to one of them."""
        said = []
        for number, each in sorted(self.scheduler.handed.items()):
            if self.scheduler.told[number].over or each.job.run != run:
                continue
            self.patch.setenv("SLURM_JOB_ID", number)
            self.patch.setenv("SLURM_RESTART_COUNT", str(restart))
            self.scheduler.begin(number)
            last = each.job.name == until
            said.append(self("job", run, each.job.name, code=code if last else 0))
            if code != 75 or not last:
                self.scheduler.end(number, code if last else 0)
            if last:
                break
        self.patch.delenv("SLURM_JOB_ID", raising=False)
        return "\n".join(said)

    def handed(self):
        return [each.job.name for each in self.scheduler.handed.values()]

    def states(self, run="시험"):
        return {name: entry["state"] for name, entry in read_manifest(self.paths(run).manifest)["stages"].items()}


@pytest.fixture
def site(alphaf, fake, tmp_path, monkeypatch):
    return Site(alphaf, fake, tmp_path, monkeypatch)


def test_a_chain_is_submitted_a_job_a_stage_and_its_jobs_make_it(site):
    said = site.submit()
    assert site.handed() == CHAIN
    assert "sft: submitted as job 103, after 102" in said
    assert "alphaf show 시험" in said
    assert site.states() == {"base_model": "done"}, "what all runs share is made where it is submitted"
    assert site.fake.calls() == ["base_model"]
    site.work()
    assert site.states() == dict.fromkeys(["base_model", *CHAIN], "done")
    assert site.fake.calls() == ["base_model", *CHAIN]
    assert (site.paths().merged("dpo") / "README.md").is_file()
    events = read_events(site.paths(), "sft")
    assert [(each.event, each.job_id, each.exit_code) for each in events] == [
        ("started", "103", None),
        ("ended", "103", 0),
    ]
    assert "nothing to submit, all of it is done" in site.submit()
    assert len(site.scheduler.handed) == 7


def test_a_variable_that_jobs_are_to_get_and_that_is_not_set_is_said(site, monkeypatch):
    site.profile.write_text("env: [OUR_PROXY]\n")
    assert "note: OUR_PROXY, which the profile's `env` names, is not set here" in site.submit("sft", run="a")
    monkeypatch.setenv("OUR_PROXY", "x")
    assert "note: OUR_PROXY" not in site.submit("sft", run="b")


def test_a_chain_of_jobs_is_the_chain_that_runs_here(site):
    site.submit()
    site.work()
    here = {name: entry["fingerprint"] for name, entry in read_manifest(site.paths().manifest)["stages"].items()}
    site("run", "--model", "tiny", "--run", "여기", "--config", str(site.fake.config))
    there = {name: entry["fingerprint"] for name, entry in read_manifest(site.paths("여기").manifest)["stages"].items()}
    assert {**there, "base_model": ""} == {**here, "base_model": ""}
    assert "nothing to do" in site("run", "--run", "시험", "--on", "local")


def test_what_is_under_way_is_told_and_not_doubled(site):
    site.submit()
    site.work(until="data")
    site.scheduler.begin("102", "gpu-3")
    said = site.submit()
    assert "preprocess: is under way already: job 102, running on gpu-3" in said
    assert "sft: is under way already: job 103, queued (Dependency)" in said
    assert not said.startswith("data:")
    assert site.handed() == CHAIN


def test_a_failure_is_submitted_anew_with_all_behind_it(site):
    site.submit()
    site.fake.behave(sft="fail")
    site.work(until="sft", code=7)
    assert read_events(site.paths(), "sft")[-1].exit_code == 7
    site.fake.behave()
    assert "merge_sft: submitted as job 109, after 108" in site.submit()
    assert site.handed()[7:] == CHAIN[2:]
    site.work()
    assert set(site.states().values()) == {"done"}


def test_what_waits_behind_a_lost_job_is_taken_back_and_submitted_anew(site):
    site.submit()
    site.scheduler.told["103"] = JobState("cancelled")  # by hand; the rest waits for ever
    said = site.submit()
    assert site.scheduler.cancelled == [("104", "105", "106", "107")]
    assert "job 104, queued (Dependency) is taken back" in said
    assert site.handed()[7:] == CHAIN[2:]
    assert site.scheduler.handed["108"].after == ("102",)


def test_other_settings_are_refused_while_jobs_are_under_way(site):
    site.submit()
    said = site("run", "--run", "시험", "--set", "sft.learning_rate=0.5", code=6)
    assert "sft of run 시험 is under way with other settings: job 103" in said
    assert "alphaf cancel 시험" in said
    assert site.handed() == CHAIN
    assert "0.5" not in site.paths().config.read_text("utf-8")


def test_a_job_refuses_what_was_changed_since(site):
    site.submit()
    config = site.paths().config
    config.write_text(config.read_text("utf-8") + "sft: {learning_rate: 0.5}\n", "utf-8")
    said = site.work(until="data")
    said = site("job", "시험", "sft", code=6)
    assert "made from other inputs than those it was submitted with" in said
    assert "sft" not in site.states()


def test_a_job_makes_its_stage_alone_and_names_what_lacks(site):
    site.submit()
    said = site("job", "시험", "sft", code=6)
    assert "data of run 시험 has to be there first, and is not: not run yet" in said
    assert "sft" not in site.states()
    said = site("job", "시험", "data")
    assert "preprocess" not in site.states()
    assert "nothing to do, data are done" in site("job", "시험", "data")


def test_a_job_without_a_record_says_so(site):
    site.submit()
    assert "시험 has no job eval" in site("job", "시험", "eval", code=6)


def test_the_run_remembers_where_it_runs(site):
    site.submit("sft")
    site.work()
    said = site("dpo", "--run", "시험")
    assert "dpo_data: submitted as job 105" in said
    site("dpo", "--run", "시험", "--on", "local")
    assert set(site.states().values()) == {"done"}
    assert "'on'" not in site.paths().config.read_text("utf-8")


def test_a_dpo_is_submitted_behind_an_sft_that_is_under_way(site):
    site.submit("sft")
    site("dpo", "--run", "시험")
    assert site.scheduler.handed["105"].job.name == "dpo_data"
    assert site.scheduler.handed["105"].after == ("101", "102", "103", "104")
    site.work()
    assert site.states() == dict.fromkeys(["base_model", *CHAIN], "done")


def test_a_dpo_needs_an_sft_that_is_done_or_under_way(site):
    site.submit("sft")
    for number in ("101", "102", "103", "104"):
        site.scheduler.told[number] = JobState("cancelled")
    assert "SFT of run 시험 is not finished" in site("dpo", "--run", "시험", code=6)


def test_an_evaluation_waits_for_the_chain_and_says_what_was_said(site):
    site.submit()
    said = site("eval", "--run", "시험", "--suite", "finance-ko", "--limit", "3")
    job = site.scheduler.handed["108"].job
    assert job.argv == ("eval", "--run", "시험", "--suite", "finance-ko", "--limit", "3", "--on", "local")
    assert job.name.startswith("eval-finance-ko-")
    assert (job.needs.role, job.needs.gpus) == ("eval", 0)
    assert set(site.scheduler.handed["108"].after) == {str(number) for number in range(101, 108)}
    assert "is under way already: job 108" in site("eval", "--run", "시험", "--suite", "finance-ko", "--limit", "3")
    site("eval", "--run", "시험")
    assert site.scheduler.handed["109"].behind == ("108",), "two would wait for each other's lock"
    assert "eval-finance-ko" in said


def test_ids_are_said_as_json(site):
    site.submit()
    call = ("eval", "--run", "시험", "--task", "finance_ko_mcq", "--json")
    assert json.loads(site.out(*call)) == {
        "schema": "alphaf/submission/1",
        "run": "시험",
        "submitted": {"eval-finance_ko_mcq-" + site.scheduler.handed["108"].job.name[-6:]: "108"},
        "under_way": {str(each.job.name): number for number, each in list(site.scheduler.handed.items())[:7]},
    }
    assert list(json.loads(site.out(*call))["under_way"].values()) == ["108"]


def test_a_merge_of_models_is_a_stage_and_a_sweep_of_them_a_call(site):
    site.submit()
    site.work()
    merge = ("merge-models", "--run", "시험", "--partner", "tiny", "--method", "linear")
    site(*merge)
    job = site.scheduler.handed["108"].job
    assert (job.stage, job.needs.role, job.needs.gpus) == ("merge_models", "merge", 0)
    site.work()
    assert site.states()["merge_models"] == "done"
    assert "nothing to submit" in site(*merge)
    site(*merge, "--sweep", "weight=0.2,0.4", "--limit", "2")
    job = site.scheduler.handed["109"].job
    assert job.argv == (*merge, "--sweep", "weight=0.2,0.4", "--limit", "2", "--on", "local")
    assert job.needs.role == "eval"


def test_a_judgement_is_the_same_call_in_a_job(site):
    site.submit()
    site.work()
    call = ("judge", "--run", "시험", "--a", "dpo", "--b", "sft", "--judge", "http://10.0.0.1:8000/v1", "--limit", "2")
    assert "jobs/judge-dpo-vs-sft" in site(*call, "--dry-run")
    assert "nobody was asked" in site(*call, "--dry-run", "--on", "local")
    assert len(site.scheduler.handed) == 7
    said = site(*call)
    assert "http://10.0.0.1:8000/v1 from the job's machine" in said
    job = site.scheduler.handed["108"].job
    assert job.argv[:3] == ("judge", "--run", "시험")
    assert job.argv[-2:] == ("--on", "local")
    assert job.needs.role == "judge"
    assert list(json.loads(site.out(*call, "--json"))["under_way"].values()) == ["108"], "nothing else on stdout"
    assert site("judge", "--run", "시험", "--a", "dpo", "--b", "nobody", code=2)
    assert list(site.scheduler.handed) == [str(number) for number in range(101, 109)]


def test_no_job_gets_a_judges_key_that_the_profile_does_not_name(site, monkeypatch, tmp_path):
    site.submit()
    site.work()
    shipped = (template_folders()[-1] / "judge" / "local.yaml").read_text("utf-8")
    (tmp_path / "templates" / "judge").mkdir(parents=True)
    preset = re.sub("(?m)^api_key_env:.*$", "api_key_env: JUDGE_KEY", shipped)
    (tmp_path / "templates" / "judge" / "paid.yaml").write_text(preset, "utf-8")
    monkeypatch.setenv("ALPHAF_TEMPLATES", str(tmp_path / "templates"))
    monkeypatch.setenv("JUDGE_KEY", "geheimnis-123456")
    call = ("judge", "--run", "시험", "--a", "dpo", "--b", "sft", "--judge", "paid")
    said = site(*call, code=2)
    assert "`env: [JUDGE_KEY]`" in said
    site.profile.write_text(site.profile.read_text("utf-8") + "env: [JUDGE_KEY]\n", "utf-8")
    assert "submitted as job 108" in site(*call)
    assert "geheimnis" not in "".join(path.read_text("utf-8") for path in site.paths().jobs.iterdir() if path.is_file())


def test_without_slurm_nothing_is_written(site, alphaf, monkeypatch, tmp_path):
    site.scheduler.gone = True
    said = site.submit(code=9)
    assert "there is no sbatch on this machine" in said
    assert not site.runs.exists()
    assert not (tmp_path / "cache" / "models").exists()


def test_a_dry_run_prints_every_file_whole_and_asks_nobody(site):
    site.scheduler.gone = site.scheduler.silent = True
    said = site(
        *("run", "--model", "tiny", "--run", "시험", "--config", str(site.fake.config), "--on", site.on),
        *("--dry-run", "--full"),
    )
    for name in CHAIN:
        assert f"# {site.paths().job_script(name, 'sbatch')}" in said
        assert f"# 시험:{name} Needs(" in said
    assert "$ sbatch after:merge_sft" in said
    assert "base_model: " in said, "the stages' own files too"
    assert "nothing was submitted to slurm" in said
    assert not site.runs.exists()


def test_a_refused_job_leaves_no_trace_of_the_others(site):
    site.scheduler.refuses = 4
    said = site.submit(code=9)
    assert "Invalid account" in said
    assert "jobs 101, 102, 103, submitted before it, are cancelled" in said
    assert site.paths().all_jobs() == []
    site.scheduler.refuses = None
    site.submit()
    assert site.handed()[3:] == CHAIN


def test_a_scheduler_that_does_not_answer_is_not_asked_to_take_twice(site):
    site.submit()
    site.scheduler.silent = True
    assert "does not answer" in site.submit(code=9)


def test_waiting_is_for_what_is_submitted(site):
    said = site("sft", "--model", "tiny", "--run", "시험", "--config", str(site.fake.config), "--wait", code=2)
    assert "add --on slurm" in said


def test_a_profile_with_a_mistake_is_told_before_anything(site):
    site.profile.write_text("gpus_per_node: 0\npartiton: gpu\n")
    said = site.submit(code=2)
    assert "unknown key partiton: did you mean partition?" in said
    assert "line 2" in said
    assert not site.runs.exists()


def test_more_gpus_than_the_site_has_are_refused_before_anything(site):
    said = site("run", "--model", "tiny", "--run", "시험", "--gpus", "1", "--on", site.on, code=5)
    assert "those of the profile have 0" in said
    assert not site.runs.exists()


def test_a_job_is_sent_back_a_bounded_number_of_times(site, monkeypatch):
    from alphaf_orch.core.errors import GoesOnLater
    from alphaf_orch.runs import in_job

    def makes_room(*_args, **_options):
        raise GoesOnLater("sft makes room at step 5", where="here", fix="it goes on", code="interrupt.x")

    site.submit()
    site.work(until="preprocess")
    monkeypatch.setattr(in_job, "run_plan", makes_room)
    for restart in (0, 1):
        site.work(until="sft", code=75, restart=restart)
    said = site.work(until="sft", code=6, restart=2)
    assert "sft was started 3 times, and is not put back into the queue again (sft makes room at step 5)" in said
    assert "max_requeues: 2" in said
    told = [(each.event, each.restart, each.exit_code) for each in read_events(site.paths(), "sft")]
    assert told == [
        ("started", 0, None), ("requeued", 0, None), ("started", 1, None), ("requeued", 1, None),
        ("started", 2, None), ("ended", 2, 6),
    ]  # fmt: skip


def test_a_job_that_lost_its_machine_too_often_is_not_begun_again(site):
    site.submit()
    assert "was started 4 times" in site.work(until="data", code=6, restart=3)
    assert site.fake.calls() == ["base_model"]


def test_a_training_without_its_gpus_says_what_to_look_at(site):
    site.profile.write_text("gpus_per_node: 1\ngpu: NVIDIA H100 80GB HBM3\n")
    site("sft", "--model", "tiny", "--run", "시험", "--config", str(site.fake.config), "--gpus", "1", "--on", site.on)
    needs = {each.job.name: each.job.needs.gpus for each in site.scheduler.handed.values()}
    assert needs == {"data": 0, "preprocess": 0, "sft": 1, "merge_sft": 0}
    said = site.work(until="sft", code=5)
    assert "sft is planned for 1 GPUs of each machine, and the job has 0" in said
    assert f"gres, gpus and extra of the profile {site.on}" in said.replace("\n", " ")
    assert "sft" not in site.states()


def test_the_config_says_where_too(site, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(site.fake.config.read_text("utf-8") + f"model: tiny\non: slurm:{site.profile.name}\n", "utf-8")
    site("sft", "--run", "시험", "--config", str(config))
    assert site.handed() == CHAIN[:4]
    kept = yaml.safe_load(site.paths().config.read_text("utf-8"))
    assert kept["on"] == f"slurm:{site.profile}", "a path means the same from anywhere"
    config.write_text("model: tiny\non: slurn\n", "utf-8")
    assert "did you mean slurm?" in site("sft", "--run", "b", "--config", str(config), code=2)


def test_a_plan_is_made_for_the_machines_that_the_settings_name(site, tmp_path):
    site.profile.write_text("gpus_per_node: 1\n")
    config = tmp_path / "c.yaml"
    config.write_text(f"model: smollm2\non: {site.on}\n", "utf-8")
    said = site("plan", "--config", str(config), "--full")
    assert "--mixed_precision bf16" in said
    assert "--cpu " not in said


def test_what_is_submitted_again_leaves_the_run_to_its_jobs(site, monkeypatch):
    site.submit()
    monkeypatch.setattr(submission, "begin", lambda _: pytest.fail("a job that begins now would find the run in use"))
    site.scheduler.told["103"] = JobState("cancelled")
    assert "sft: submitted as job 108, after 102" in site.submit()


def test_a_run_that_somebody_works_on_is_not_submitted(site):
    site.paths().root.mkdir(parents=True)
    with held(site.paths().lock, "the run"):
        assert "is in use" in site.submit(code=6)
    assert site.scheduler.handed == {}


def test_a_site_whose_gpus_nobody_counts_is_told_of(site):
    call = ("sft", "--model", "smollm2", "--run", "b", "--on", site.on, "--dry-run")
    assert "is planned for the processor" not in site(*call)
    site.profile.write_text("partition: main\n")
    assert "smollm2 is planned for the processor" in site(*call)
    assert "is planned for the processor" not in site(*call, "--gpus", "1")


def test_who_cancels_while_jobs_are_handed_over_has_all_of_them_taken_back(site):
    """`alphaf cancel`, elsewhere, finds the first ones queued, and whoever submits the others at work."""
    submit, names = site.scheduler.submit, []

    def slowly(script, job, after, behind):
        if len(site.scheduler.handed) == 2:
            names.extend(each.lock for each in cancel.working([site.paths()], ()))
            wish(site.paths().stop_wish, "stop", "alphaf cancel of kim@login")
            time.sleep(4)  # whoever is being handed over is so to the end, and taken back with the others
        return submit(script, job, after, behind)

    site.scheduler.submit = slowly
    said = site.submit(code=130)
    assert names == [site.paths().submission_lock]
    taken = len(site.scheduler.handed)
    assert 3 <= taken < len(CHAIN)
    assert set(site.scheduler.cancelled[-1]) == {str(101 + number) for number in range(taken)}, said
    assert site.paths().all_jobs() == []
    site.scheduler.submit = submit
    site.submit()
    assert site.handed()[taken:] == CHAIN
