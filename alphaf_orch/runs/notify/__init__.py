"""Whoever the settings name is told how a command ended, that a stage hangs, that a job went back to the queue.

May import settings and what stands below it. Its public face: `call` (around a command), `message` (what is told),
`send` (to a command, to a webhook). Off unless `notify:` is set, and nothing that goes wrong here changes an outcome.
"""
