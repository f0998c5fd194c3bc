"""Where one machine is too small: what would run here as jobs of a scheduler that the site has.

May import planning and what stands below it. Its public face: `jobs` (Job, Needs), `submitted` (what was handed to a
scheduler, and what the jobs themselves wrote down).
"""
