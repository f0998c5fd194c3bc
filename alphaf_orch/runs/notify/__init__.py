"""Whoever the settings name is told how a command ended, that a stage hangs, that a job went back to the queue.

May import settings and what stands below it. Off unless `notify:` is set, and nothing that goes wrong here changes an
outcome. Face: `call.told_of`, `call.stalled`, `message.message`, `send.send`, `send.checked`.
"""
