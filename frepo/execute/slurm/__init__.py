"""Stages as jobs of Slurm: what a job asks for, its submission, its task on the node, and the queue."""
