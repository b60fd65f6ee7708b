"""Sources of images: TFDS, archives, folders."""
