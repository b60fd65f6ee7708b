"""Membership inference in a report: a curve for each attack over training lengths, and a table."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from frepo.report.lines import lines


@dataclass(frozen=True)
class MembershipSection:
    """What the template shows."""

    rows: list[dict[str, Any]]
    pictures: list[Markup]


def membership_section(rows: list[dict[str, Any]]) -> MembershipSection | None:
    """Return the section of rows of `attack_table`, or None where there are none."""
    if not rows:
        return None
    spreads = [(row["auc_mean"], row["auc_std"] or 0) for row in rows]
    domain = (min(0.5, *(mean - spread for mean, spread in spreads)), max(mean + spread for mean, spread in spreads))
    pictures = [
        lines(
            [
                {"x": r["train_steps"], "y": r["auc_mean"], "spread": r["auc_std"] or 0, "line": r["source"]}
                for r in rows
                if r["attack"] == attack
            ],
            f"AUC of {attack.replace('_', ' ')}",
            "training steps",
            "AUC",
            logarithmic=True,
            domain=domain,
        )
        for attack in dict.fromkeys(row["attack"] for row in rows)
    ]
    return MembershipSection(rows, pictures)
