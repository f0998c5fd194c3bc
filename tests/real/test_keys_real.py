"""The recorded keys are those of the installed tools."""


def test_the_recorded_axolotl_keys_are_those_of_the_installed_version():
    import subprocess
    import sys
    from pathlib import Path

    script = Path(__file__).parents[2] / "tools" / "record_axolotl_keys.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, "run `make lock keys`: the record differs from the installed axolotl\n" + done.stderr
