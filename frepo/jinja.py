"""The templates, which lie beside the package in a source tree and inside it in a wheel."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def templates(*, html: bool) -> Environment:
    """Return what renders them; in HTML every value is escaped."""
    packaged = Path(__file__).parent / "templates"
    return Environment(
        loader=FileSystemLoader(packaged if packaged.is_dir() else packaged.parents[1] / "templates"),
        autoescape=html,  # noqa: S701 (the rest is Markdown and Python, of validated values)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not html,
    )
