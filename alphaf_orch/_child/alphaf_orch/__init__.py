"""The package under its own name in a tool's environment, where it need not be installed.

The folder above is on the PYTHONPATH of child programs and holds nothing else that could hide a module of theirs.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[2])]
