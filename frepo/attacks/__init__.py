"""Membership inference: telling by what a network says of an example whether it was trained on it."""
