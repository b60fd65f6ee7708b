"""Execution: which stage is computed when, by whom, and how it is recorded."""
