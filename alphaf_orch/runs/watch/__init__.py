"""What is seen of a stage while it runs: figures that cannot be right, no progress, too little memory.

Knows rows, logs and processes; imports what stands below `runs`, and nothing of `runs` but its errors. Its face:
`stage.StageWatch`, `retry`, `memory`.
"""
