"""What is on this machine: base models, their files and licences, training data, the hub's cache.

May import core and, of programs, the readers of rows; not settings, which stands beside it.
Face: `presets.ModelPreset`, `presets.load_preset`, `own_model.generic_preset`, `data_sets.check_sources`,
`weights.weights_state`, `identity.folder_identity`, `hub_cache.snapshot`.
"""
