"""Slurm: an sbatch file from a template, and what sbatch, squeue, sacct, scontrol and scancel say.

May import what clusters may. Face: `scheduler.Slurm`.
"""
