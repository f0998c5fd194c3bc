"""`python -m alphaf_orch` is the `alphaf` command."""

from alphaf_orch.cli.start import main

main()
