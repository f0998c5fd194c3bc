"""What is seen of a stage while it runs: figures that cannot be right, no progress, too little memory.

Knows rows, logs and processes; imports what stands below `runs`. Face: `stage.StageWatch`, `retry.judged`,
`memory.short_of`, `causes.explained`, `ruined.ruined`.
"""
