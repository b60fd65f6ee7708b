"""How steps run on a device: loops, blocks of steps, devices, saved states, randomness, cost."""
