"""The table `[pool]`: the half-trained networks whose features the regression uses."""

from typing import Annotated

from pydantic import Field

from frepo.spec.table import Count, LearningRate, Table


class Pool(Table):
    """Networks that train on the distilled data while it is learned."""

    size: Count = 10
    """Number of networks."""

    max_online_updates: Annotated[int, Field(ge=0)] = 100
    """A network that has taken more training steps than this is replaced by a fresh one."""

    learning_rate: LearningRate = 3e-4
    """Learning rate of their Adam."""

    batch_size: Count = 1000
    """At most this many distilled images in one of their training steps."""
