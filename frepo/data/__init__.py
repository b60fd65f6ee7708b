"""Images: where they come from, how they are prepared, batched and augmented."""
