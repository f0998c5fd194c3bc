"""What `alphaf doctor`, and `alphaf run` before it launches, has a tool's own python look at; each prints JSON.

Programs: `environment` (imports no tool), `devices`, `kernel NAME`, `collective`: one process each, so that a crash or
a hang is the finding of one check.
"""
