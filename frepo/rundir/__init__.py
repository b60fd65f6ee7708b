"""What lies on disk: the records of runs and stages, their status, provenance, and atomic files."""
