"""Settings and inputs in, stages out: frozen values with argv, rendered files, outputs and what they depend on.

May import settings, inputs and all below them. Starts and writes nothing.
Face: `plan.make_plan`, `plan.Plan`, `plan.Scope`, `stages.Stage`.
"""
