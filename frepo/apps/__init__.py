"""What is done with distilled data, one application a file."""
