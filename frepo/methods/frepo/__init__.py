"""Neural feature regression with pooling (Zhou, Nezhadarya and Ba, NeurIPS 2022)."""
