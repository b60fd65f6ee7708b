"""Membership inference: what networks expose, and attacks on it."""
