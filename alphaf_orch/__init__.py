"""Thin, checked orchestration of SFT (axolotl), DPO (unsloth or TRL) and merging for domain LLMs."""

__version__ = "0.1.0"
