"""The check of a GPU that is there for half an hour: from a folder of wheels to docs/gpu-verification.md.

`__main__` installs the wheels and starts itself again with them; `steps` says what is run and in which order, `check`
has what the steps share, `running` starts a command within the time that is left, `record` keeps what was found after
each step, `page` writes it for people.
`collect` is the other side: on a connected machine it puts the wheels together (`make gpu-wheels`).
"""
