"""Children around a training: data statistics, the DPO program, and what hooks into the trainers.

Programs: `data_stats`, `dpo`. Into axolotl: `axolotl_plugin.AlphafPlugin`.
"""
