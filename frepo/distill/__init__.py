"""Making distilled data."""
