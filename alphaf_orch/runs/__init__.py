"""One run on the disk: its plan executed, its outputs judged and recorded, its models found again.

May import planning and all below it.
Face: `runner.run_plan`, `status.statuses`, `find.existing_run`, `find.all_runs`, `chain.chain_models`,
`reference.find_reference`.
"""
