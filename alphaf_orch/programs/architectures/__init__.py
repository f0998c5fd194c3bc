"""Classes that transformers or mergekit lack or get wrong, registered by every child that loads a model.

Face: `orion.register`, `mergekit_native.register_architectures`, `llama_legacy.keep_legacy`.
"""
