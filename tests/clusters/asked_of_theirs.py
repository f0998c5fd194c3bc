"""Child program of the tests: what SkyPilot's library and the models of Kubeflow's package make of files of ours.

In: a JSON object on stdin, `{"skypilot": {NAME: TEXT}, "kubernetes": {NAME: TEXT}}`. Out: the same names, each with
what was understood, or `{"refused": WORDS}`. No network: a connection ends it.
"""

import json
import socket
import sys
import tempfile
from pathlib import Path

import yaml


def refuse(*_args, **_kwargs):
    raise SystemExit("a connection was tried")


socket.socket.connect = refuse


def skypilot(text: str) -> dict:
    from sky.utils import dag_utils

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pipeline.yaml")
        file.write_text(text, encoding="utf-8")
        dag = dag_utils.load_chain_dag_from_yaml(str(file), secret_overrides=[("HF_TOKEN", "of the test")])
    dag_utils.maybe_infer_and_fill_dag_and_task_names(dag)
    dag_utils.fill_default_config_in_dag_for_job_launch(dag)
    for task in dag.tasks:
        task.validate_name()
        task.validate_run()
    return {"name": dag.name, "chain": dag.is_chain(), "tasks": [task.to_yaml_config() for task in dag.tasks]}


def kubernetes(text: str) -> dict:
    from kubeflow_trainer_api import models

    return models.JobsetV1alpha2JobSet.from_dict(yaml.safe_load(text)).to_dict()


def asked(ask, text: str) -> dict:
    try:
        return ask(text)
    except Exception as error:  # noqa: BLE001  whatever they refuse it with
        return {"refused": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    theirs = sys.stdout
    sys.stdout = sys.stderr
    found = {
        "skypilot": {name: asked(skypilot, text) for name, text in given["skypilot"].items()},
        "kubernetes": {name: asked(kubernetes, text) for name, text in given["kubernetes"].items()},
    }
    json.dump(found, theirs, default=str)
    theirs.flush()
