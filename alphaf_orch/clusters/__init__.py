"""Where one machine is too small: what would run here as jobs of a scheduler that the site has.

May import planning and what stands below it.
Face: `jobs.Job`, `chain.chain_jobs`, `profiles.load_profile`, `submit.submit_jobs`, `schedulers.scheduler_named`, and
`submitted.read_submitted`: what was handed over, and what the jobs themselves wrote down.
"""
