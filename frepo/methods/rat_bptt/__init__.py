"""Randomly truncated backpropagation through time (Feng, Vedantam and Kempe, ICLR 2024), and AT-BPTT's window."""
