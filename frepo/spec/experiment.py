"""The whole spec: the run-level fields and the tables."""

from typing import Annotated

from pydantic import Field, model_validator

from frepo.spec.application import Application
from frepo.spec.architecture import Conv
from frepo.spec.dataset import Dataset
from frepo.spec.distill import Distill, RandomSelection
from frepo.spec.pool import Pool
from frepo.spec.table import Table


class ExperimentSpec(Table):
    """A dataset-distillation experiment: what the result is, not how it is computed."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]*$", max_length=100)]
    """Name of the experiment; its results go to `runs/<name>/`."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """All randomness of the experiment comes from this number."""

    dataset: Dataset
    """The images to distill."""

    architecture: Conv = Conv()
    """The network whose features are regressed on and which is evaluated."""

    distill: Distill
    """How the distilled data is made; `method` chooses."""

    pool: Pool = Pool()
    """The pool of networks that `method = "frepo"` trains alongside."""

    application: Annotated[tuple[Application, ...], Field(strict=False)] = ()
    """What is done with the distilled data, in this order."""

    @model_validator(mode="after")
    def pool_must_be_read(self) -> "ExperimentSpec":
        """Reject a `[pool]` that nothing would read."""
        if isinstance(self.distill, RandomSelection) and "pool" in self.model_fields_set:
            raise ValueError("[pool] is read by method = 'frepo' only: remove it, or change [distill] method")
        return self
