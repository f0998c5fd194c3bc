"""Slurm: an sbatch file from a template, and what sbatch, squeue, sacct, scontrol and scancel say.

Its public face: `scheduler` (Slurm).
"""
