"""The child programs: each runs as a module in the python of a tool's environment, as a process of its own.

May import nothing above it, so that an environment without the `alphaf` command's packages can run it. The modules that
stand here, not in a sub-package, are shared by children; the orchestrator reads those that import no tool.
Face: `common.Failure`, `rows.read_rows`, `dpo_config.DpoConfig`, `tracker_keys.KEYS`, `native_types.NATIVE_TYPES`.
"""
