"""What a reader should know before believing a run's numbers."""

from typing import Any

FEW = 3
"""A deviation over fewer networks, seeds or sets of members says little."""


def caveats(run: dict[str, Any], accuracies: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each, of a row of `report_runs` and its rows of `accuracy_table`."""
    found: list[str] = []
    if run["status"] != "done":
        found.append(f"The run is not finished ({run['status']}); results may be missing.")
    if run["git_dirty"]:
        found.append("It was computed with uncommitted changes: the commit alone does not give these numbers again.")
    counts = {row["num_models"] for row in accuracies}
    if 1 in counts:
        found.append("Accuracies of a single network have no deviation: another seed may give quite another number.")
    few = sorted(count for count in counts if 1 < count < FEW)
    if few:
        found.append(f"Some deviations are over {few[0]} networks only.")
    parts = ((run["num_seeds"], "seed", "seeds"), (run["num_chunks"], "set of members", "sets of members"))
    for count, one, several in parts:
        if count == 1:
            found.append(f"It has a single {one}: another may give quite other numbers.")
        elif count and count < FEW:
            found.append(f"Its deviations are over {count} {several} only.")
    if run["method"] == "imported":
        found.append("The images were learned elsewhere; whether test data had a part in it is not known here.")
    return found
