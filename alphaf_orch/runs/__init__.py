"""One run on the disk: its plan executed, its outputs judged and recorded, its models found again.

May import planning and all below it.
Face: `runner.run_plan`, `ready.ready_plan`, `launch.launch`, `status.statuses`, `find.existing_run`, `look.run_json`,
`chain.newest`, `chain.chain_models`, `reference.find_reference`.
"""
