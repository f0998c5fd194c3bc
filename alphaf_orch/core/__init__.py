"""What every package stands on: errors, paths, records, rendering, secrets, words, and the only door to processes.

May import of programs only what needs no tool (`programs.json_lines`).
Face: `errors.AlphafError`, `paths.RunPaths`, `record.write_atomic`, `record.fingerprint`, `render.render`,
`command.run_logged`, `command.program`, `wording.Label`.
"""
