"""Distilled data that another program made."""
