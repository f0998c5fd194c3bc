"""What counts as a finished stage, beside what the real tools write."""

import re
import sys

from alphaf_orch.runs.outputs import said


def test_real_ranks_of_axolotl_tell_their_own_error(tmp_path):
    """Two ranks by accelerate and torch's elastic agent; axolotl's main function records nothing by itself."""
    from alphaf_orch.core.command import child_env, run_logged
    from alphaf_orch.core.paths import CHILD

    config = tmp_path / "sft.yaml"
    config.write_text(
        "base_model: nowhere\nlearning_rate: abc\n"
        "plugins: [alphaf_orch.programs.training.axolotl_plugin.AlphafPlugin]\n"
        f"datasets: [{{path: x.jsonl, type: chat_template}}]\noutput_dir: {tmp_path}/out\n"
        "micro_batch_size: 1\ngradient_accumulation_steps: 1\n"
    )
    launch = tmp_path / "accelerate.yaml"
    launch.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_processes: 2\nnum_machines: 1\n"
        "machine_rank: 0\nmixed_precision: 'no'\nuse_cpu: false\ndebug: false\n"
    )
    argv = (
        sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--config_file", str(launch),
        "--num_processes", "2", "--num_machines", "1", "--machine_rank", "0", "--mixed_precision", "no",
        "--dynamo_backend", "no", "--num_cpu_threads_per_process", "1", "--multi_gpu", "--gpu_ids", "all",
        "--rdzv_backend", "static", "--same_network", "--main_process_ip", "127.0.0.1", "--main_process_port", "0",
        "-m", "axolotl.cli.train", str(config),
    )  # fmt: skip
    log = tmp_path / "s.log"
    env = child_env({"PYTHONPATH": str(CHILD), "CUDA_VISIBLE_DEVICES": ""}, online=False)
    with (tmp_path / "lock").open("w") as lock:
        done = run_logged(argv, env=env, log=log, lock_fd=lock.fileno(), on_poll=lambda: None)
    assert done.exit_code == 1
    told = said(log).text
    assert re.match(r"\[rank[01]\]: pydantic_core\S+ValidationError: 1 validation error for AxolotlConfig", told), told
    assert "could not convert string to float: 'abc'" in told
