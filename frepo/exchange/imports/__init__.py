"""Distilled data of others: files of many formats, read without unpickling."""
