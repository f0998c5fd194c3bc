"""SkyPilot and Kubernetes: jobs as one file a pipeline, each behind the one before it.

May import what clusters may. Its public face: `pipelines` (which jobs one file holds), `skypilot` and `kubernetes` (the
files), `hand_over` (writing them, and `sky jobs launch`).
"""
