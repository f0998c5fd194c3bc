"""The planned argv as accelerate itself reads it."""

from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.settings.config import RunConfig

DRY = Scope(dry=True)


def stage(plan, name):
    return next(found for found in plan.stages if found.name == name)


def planned(machine, tmp_path, scope=DRY, **settings):
    return make_plan(RunConfig(**{"model": "eeve", **settings}), machine, tmp_path / "runs" / "한글 런", scope)


def test_accelerate_reads_the_options_as_eight_processes_whatever_its_default_config_says(
    eight_gpus, tmp_path, monkeypatch
):
    """The stray file asks for one process, fp16 and FSDP; none of it must arrive."""
    stray = tmp_path / "hf" / "accelerate" / "default_config.yaml"
    stray.parent.mkdir(parents=True)
    stray.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nmixed_precision: fp16\nnum_processes: 1\n"
        "num_machines: 1\nuse_cpu: true\ngpu_ids: '3'\nmain_process_port: 1234\nfsdp_config: {fsdp_version: 2}\n"
    )
    from accelerate.commands import launch
    from accelerate.commands.config import config_args

    monkeypatch.setattr(config_args, "default_yaml_config_file", str(stray))
    monkeypatch.setattr(launch, "default_config_file", str(stray))
    found = stage(planned(eight_gpus, tmp_path), "sft")
    for path, file in found.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
    monkeypatch.setattr(launch, "is_bf16_available", lambda *_: True)
    args, _, _ = launch._validate_launch_command(launch.launch_command_parser().parse_args(found.argv[4:]))
    assert (args.multi_gpu, args.use_fsdp, args.use_deepspeed, args.num_processes) == (True, False, False, 8)
    assert (args.mixed_precision, args.gpu_ids, args.main_process_port, args.num_machines) == ("bf16", "all", 0, 1)
    assert args.use_cpu is False
    assert args.module is True
    assert args.training_script == "axolotl.cli.train"
