"""SkyPilot and Kubernetes: jobs as one file a pipeline, each behind the one before it.

May import what clusters may. Face: `pipelines.pipelines` (which jobs one file holds), `skypilot_calls.SkyPilot` and
`kubernetes_calls.Kubernetes` (the files, and who is called with them).
"""
