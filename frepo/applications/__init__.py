"""Uses of distilled data: evaluation, continual learning, membership inference."""
