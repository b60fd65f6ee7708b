"""Places that images come from: TFDS, archives, folders."""
