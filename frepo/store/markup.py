"""Tables as LaTeX and Markdown: a header and rows of cells, escaped."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Align = Literal["l", "r"]

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "†": r"\textdagger{}",
    "×": r"$\times$",
    "−": r"$-$",
    "→": r"$\rightarrow$",
    "\n": " ",
    "[": "{[}",  # which at the start of a row would be read as an argument of the line break before, like the next
    "*": "{*}",
    **{character: f"\\{character}" for character in "%_&#${}"},
}
"""What the text of a document cannot hold as it is."""


@dataclass(frozen=True)
class Cell:
    """Text in a table, not yet escaped."""

    text: str
    best: bool = False
    """Set in bold."""


def latex(header: Sequence[Cell], rows: Sequence[Sequence[Cell]], align: Sequence[Align], caption: str = "") -> str:
    """Return a `tabular` of the package booktabs, in a `table` with a caption where there is one."""
    lines = [_latex_line(header), r"\midrule", *map(_latex_line, rows)]
    tabular = [rf"\begin{{tabular}}{{{''.join(align)}}}", *_indented([r"\toprule", *lines, r"\bottomrule"])]
    tabular.append(r"\end{tabular}")
    if caption:
        inside = [r"\centering", rf"\caption{{{latex_text(caption)}}}", *tabular]
        tabular = [r"\begin{table}", *_indented(inside), r"\end{table}"]
    return "\n".join(["% needs \\usepackage{booktabs}", *tabular]) + "\n"


def markdown(header: Sequence[Cell], rows: Sequence[Sequence[Cell]], align: Sequence[Align], caption: str = "") -> str:
    """Return a table of GitHub's Markdown, its caption in a line below."""
    rule = "|".join("---:" if side == "r" else "---" for side in align)
    lines = [_markdown_line(header), f"|{rule}|", *map(_markdown_line, rows)]
    return "\n".join([*lines, *(["", markdown_text(caption)] if caption else [])]) + "\n"


def latex_text(text: str) -> str:
    """Return text as LaTeX prints it."""
    return "".join(LATEX.get(character, character) for character in text)


def markdown_text(text: str) -> str:
    """Return text as Markdown shows it, in a cell too."""
    escaped = re.sub(r"([\\|*`<\[])|(?<!\w)(_)|(_)(?!\w)", r"\\\g<0>", text)
    return re.sub(r"\s+", " ", escaped)


def _latex_line(cells: Sequence[Cell]) -> str:
    texts = (latex_text(cell.text) for cell in cells)
    return " & ".join(rf"\textbf{{{t}}}" if cell.best else t for cell, t in zip(cells, texts, strict=True)) + r" \\"


def _markdown_line(cells: Sequence[Cell]) -> str:
    texts = (markdown_text(cell.text) for cell in cells)
    return f"| {' | '.join(f'**{t}**' if cell.best else t for cell, t in zip(cells, texts, strict=True))} |"


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]
