"""One run on the disk: its plan executed, its outputs judged and recorded, its models found again.

May import planning and all below it.
Face: `runner.run_plan`, `ready.ready_plan`, `status.statuses`, `launch.launch`, by which every program of ours is
started, `find.existing_run`, `chain.newest`, `chain.chain_models`, `reference.find_reference`, `look.run_json`.
"""
