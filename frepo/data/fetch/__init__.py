"""Data sets from their publishers: addresses, downloads, and readers of the publishers' files."""
