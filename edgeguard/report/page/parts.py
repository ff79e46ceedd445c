"""What a page is made of: sections of paragraphs, figures, tables and what is folded away."""

from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

STATES = {True: "holds", False: "fails", None: "undecided"}
"""Of a check; every state has a word, a shape and a colour."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        state: draws its mark before the text: `holds`, `fails`, `undecided` or `skipped`.
        share: 0 to 1, shades the cell.
        strong: set in bold.
    """

    text: str
    state: str | None = None
    share: float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first cell of each row names it.

    Attributes:
        words: columns that hold words and not numbers, besides the first.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell | str, ...], ...]
    words: frozenset[int] = frozenset()
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Legend:
    """What a mark of a drawing means: its class in the style sheet, and the name of the series."""

    mark: str
    name: str


@dataclass(frozen=True)
class Figure:
    """A drawing, or a table that is read as one, with a sentence on how to read it.

    Attributes:
        key: its place in the page's address.
        content: drawings with their alternative text inside.
        wide: as wide as the page.
        scroll: least width of the drawing in pixels; on narrower screens it scrolls in its own frame.
    """

    key: str
    title: str
    reading: str
    content: Markup | tuple[Table, ...]
    legend: tuple[Legend, ...] = ()
    wide: bool = False
    scroll: int | None = None
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Note:
    """A paragraph; `missing` where it says why something is not there."""

    text: str
    missing: bool = False
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Folded:
    """What is there for those who ask."""

    summary: str
    body: tuple["Figure | Table | Note", ...]
    kind: ClassVar[str] = "folded"


Part = Figure | Table | Note | Folded


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it.

    Attributes:
        short: its name in the list of sections.
        lead: what was found, in one or two sentences with figures.
    """

    key: str
    title: str
    short: str
    lead: str
    body: tuple[Part, ...] = ()
