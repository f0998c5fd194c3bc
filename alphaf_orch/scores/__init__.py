"""Results as they are stored and read, with intervals and paired tests: numbers, no words of a report.

May import runs and all below it.
Face: `results.TaskResult`, `loaded.load_run`, `compare.compare`, `table.build`, `seeds.compare`.
"""
