"""Settings and inputs in, stages out: frozen values with argv, rendered files, outputs and what they depend on.

May import settings, inputs and all below them. `resolve` reads the disk, once; what it returns is planned from alone.
No program is started here.
Face: `resolve.resolve`, `plan.plan_run`, `plan.make_plan`, `plan.Plan`, `resolved.Scope`, `resolved.Resolved`,
`stages.Stage`.
"""
