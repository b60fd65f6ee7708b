"""Pickles of strangers, read by a stack machine of frepo's own: nothing that they name is imported or called."""
