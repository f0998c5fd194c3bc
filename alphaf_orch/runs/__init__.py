"""One run on disk: executed stage by stage, its outputs judged, shared with other runs, found again.

Its face: runner.run_plan and runner.locked; status.statuses; launch.launch with launch.exited, which every program of
ours is started by; find.existing_run; chain.newest and chain.chain_models; reference.find_reference; look.run_json.
"""
