"""What is asked of this machine before anything is launched, each question one `Check`; `alphaf doctor` asks all.

May import planning and all below it, and of `runs` what reads a log.
Face: `checks.Check`, `look.ask`, `require.require_gpus` (before a launch), and what judges what was seen: `gpus`,
`compiler`, `kernels`, `host` and `room`.
"""
