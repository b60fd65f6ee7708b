"""The table `[pool]`: the half-trained networks whose features the regression uses."""

from frepo.spec.table import Count, Few, LearningRate, Table, Waiting


class Pool(Table):
    """Networks that train on the distilled data while it is learned."""

    size: Few = 10
    """Number of networks."""

    max_online_updates: Waiting = 100
    """A network that has taken more training steps than this is replaced by a fresh one."""

    learning_rate: LearningRate = 3e-4
    """Learning rate of their Adam optimiser."""

    batch_size: Count = 1000
    """Largest number of distilled images in one of their training steps."""
