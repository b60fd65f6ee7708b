"""The attack without training."""

from frepo.applications.membership.curve import Scores, roc_scores
from frepo.applications.membership.exposed import Exposed


def threshold_attack(members: Exposed, non_members: Exposed) -> Scores:
    """Call an example a member if its loss is small (Yeom et al. 2018); all thresholds on minus the loss are tried.

    ValueError for fewer than two examples on either side.
    """
    return roc_scores(-members.loss, -non_members.loss)
