"""Reparameterised and convexified implicit gradients (Loo, Hasani, Lechner and Rus, ICML 2023)."""
