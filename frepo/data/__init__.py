"""Images: their sources, decoding, preprocessing and batches."""
