"""How often a job was started before, where no scheduler says so: on Kubernetes and SkyPilot."""

import pytest

from alphaf_orch.clusters.submitted import Event, Submitted, note, read_events, started
from alphaf_orch.core.errors import GoesOnLater, RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.runs.in_job import written_down
from alphaf_orch.runs.notify.message import message

JOB = Submitted("r", "sft", "kubernetes", "alphaf-r-chain/sft", at="2026-01-02T00:00:00+00:00", max_requeues=2)


@pytest.fixture
def paths(tmp_path, monkeypatch) -> RunPaths:
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALPHAF_JOB_ID", JOB.job_id)
    return RunPaths(tmp_path / "r")


def test_its_own_starts_since_it_was_submitted_are_counted(paths):
    for job_id, at in ((JOB.job_id, "2026-01-01T00:00:00+00:00"), ("17.2", "2026-01-03T00:00:00+00:00"),
                       (JOB.job_id, "2026-01-03T00:00:00+00:00")):  # fmt: skip
        note(paths, "sft", Event("started", at, job_id))
        note(paths, "sft", Event("ended", at, job_id, exit_code=0))
    assert (started(paths, JOB).job_id, started(paths, JOB).restart) == (JOB.job_id, 1)


def test_slurm_counts_itself(paths, monkeypatch):
    note(paths, "sft", Event("started", "2026-01-03T00:00:00+00:00", "12"))
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert started(paths, JOB).restart == 0
    monkeypatch.setenv("SLURM_RESTART_COUNT", "4")
    assert started(paths, JOB).restart == 4


def test_the_job_that_an_event_names_is_the_one_that_people_are_told_of(paths, monkeypatch):
    monkeypatch.setenv("SKYPILOT_TASK_ID", "sky-managed-2026-01-02_r_7-0")
    assert message("failure", paths).job_id == started(paths, JOB).job_id == JOB.job_id
    monkeypatch.delenv("ALPHAF_JOB_ID")
    assert message("failure", paths).job_id == "sky-managed-2026-01-02_r_7-0", "a task of the user's own"


def test_a_job_goes_on_later_as_often_as_its_profile_allows(paths):
    def make_room() -> None:
        with written_down(paths, JOB):
            raise GoesOnLater("it was asked to make room", where="here", fix="wait", code="interrupt.x")

    for _ in range(JOB.max_requeues):
        with pytest.raises(GoesOnLater):
            make_room()
    with pytest.raises(RunStateError):
        make_room()
    assert [(event.event, event.restart) for event in read_events(paths, "sft") if event.event == "started"] == [
        ("started", 0), ("started", 1), ("started", 2)
    ]  # fmt: skip
