"""What is known of the data set that an export was made from: licence, citation, and its name on the Hub."""

import re
from dataclasses import dataclass

from frepo.data.sources.known import known_of
from frepo.spec.names import HUB, is_of_hub

IDENTIFIERS = {
    "CC BY 4.0": ("cc-by-4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "CC BY-SA 3.0": ("cc-by-sa-3.0", "https://creativecommons.org/licenses/by-sa/3.0/"),
    "MIT": ("mit", "https://spdx.org/licenses/MIT"),
}
"""From a licence as its publisher states it to the Hub's identifier and the address of its text."""


@dataclass(frozen=True)
class Source:
    """Facts about a data set, as far as they are known.

    Attributes:
        licence: its identifier on the Hub; `other` if it has none there, `unknown` if the publisher states none.
        licence_name: of an `other` one, in the letters that the Hub allows; None for the rest.
        terms: the address of the licence's text, or what is known in words.
        citation: of the data set; empty where it is not known.
        hub_name: of the data set on the Hub, or None.
    """

    licence: str
    licence_name: str | None
    terms: str
    citation: str
    hub_name: str | None


def source_of(name: str) -> Source:
    """Return what is known of the data set of that name in specs."""
    known = known_of(name)
    stated, citation, hub_name = (known.licence, known.citation, known.hub_name) if known else ("", "", None)
    if is_of_hub(name):
        hub_name = name.removeprefix(HUB)
    if stated in IDENTIFIERS:
        identifier, address = IDENTIFIERS[stated]
        return Source(identifier, None, address, citation, hub_name)
    if not stated or stated.startswith("none"):
        return Source("unknown", None, stated or "not known", citation, hub_name)
    licence_name = re.sub(r"[^a-z0-9]+", "-", stated.lower().replace("'", ""))
    return Source("other", licence_name, stated, citation, hub_name)
