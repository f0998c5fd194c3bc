"""Children that bring a base model into the cache: built, converted or fetched.

Programs: `build_tiny`, `convert_smollm2`, `fetch_model`, `from_pickle`, `repository`.
"""
