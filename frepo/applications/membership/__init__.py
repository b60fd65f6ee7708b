"""Membership inference: the outputs that networks expose, and attacks on them."""
