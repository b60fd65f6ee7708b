"""Distilled data of others, and ours for others."""
