"""Distilled data for others: in formats that they read, with all that is needed to train on it."""
