"""What a report is made of: sections of plain values, before anything is HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from matplotlib.figure import Figure

from nas_mer.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; one that is `missing` says what would stand here, and why it does not."""

    kind: ClassVar[str] = "paragraph"
    text: str
    missing: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        order: what its column is sorted by; None is the last, whichever way.
    """

    text: str
    order: float | str | None

    @classmethod
    def of(cls, value: object) -> Cell:
        """Return a cell as it is, a number that is sorted as one, or anything else's text."""
        match value:
            case Cell():
                return value
            case None:
                return cls("\u2013", None)
            case bool() | str():
                return cls(str(value), str(value).casefold())
            case int():
                return cls(f"{value:,}", value)
            case float():
                return cls(f"{value:.3f}", value)
        return cls(str(value), str(value).casefold())

    @classmethod
    def percent(cls, share: float) -> Cell:
        """Return a share, 0..1, as a whole percentage."""
        return cls(f"{share:.0%}", share)

    @classmethod
    def signed(cls, value: float) -> Cell:
        """Return a number with its sign."""
        return cls(f"{value:+.3f}", value)

    @classmethod
    def interval(cls, ends: tuple[float, float] | None) -> Cell:
        """Return both ends of an interval, which is sorted by the lower one."""
        return cls.of(None) if ends is None else cls("[{:.3f}, {:.3f}]".format(*ends), ends[0])


class Table:
    """A table whose columns can be sorted.

    Attributes:
        caption: what it shows.
        headings: of its columns; the first column names the rows.
        rows: of cells.
        numeric: whether each column holds numbers, which stand to the right.
        folded: whether it is shown on demand only.
    """

    kind: ClassVar[str] = "table"

    def __init__(
        self, caption: str, headings: Sequence[str], rows: Sequence[Sequence[object]], folded: bool = False
    ) -> None:
        self.caption, self.headings, self.folded = caption, tuple(headings), folded
        self.rows = [[Cell.of(value) for value in row] for row in rows]
        columns = zip(*self.rows, strict=True)
        self.numeric = [all(not isinstance(cell.order, str) for cell in column) for column in columns]


@dataclass(frozen=True)
class Picture:
    """A figure, with a name for the file that it is saved as."""

    kind: ClassVar[str] = "picture"
    name: str
    caption: str
    figure: Figure
    folded: bool = False


@dataclass(frozen=True)
class Replay:
    """A searched space's picture, moved through the epochs.

    Attributes:
        picture: the space with the weights of the last epoch.
        weights: decision -> option -> its weight after each epoch.
        choices: decision -> option of the genotype to mark after each epoch.
    """

    kind: ClassVar[str] = "replay"
    picture: Picture
    weights: Mapping[str, Mapping[str, Sequence[float]]]
    choices: Sequence[Mapping[str, str]]

    @property
    def epochs(self) -> int:
        """How many there are."""
        return len(self.choices)

    @property
    def values(self) -> dict[str, object]:
        """Weights and choices, as the page's script takes them."""
        return {"weights": self.weights, "choices": self.choices}


@dataclass(frozen=True)
class Source:
    """A text as it is: a file or commands."""

    kind: ClassVar[str] = "source"
    title: str
    text: str
    folded: bool = True


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


Part = Paragraph | Table | Picture | Replay | Source | Heading


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        ident: its anchor.
        title: its heading.
        parts: what stands in it.
    """

    ident: str
    title: str
    parts: Sequence[Part]


def told(tell: Callable[[T], Iterator[Part]], subjects: Iterable[T]) -> Iterator[Part]:
    """Iterate over what is told of each subject; where it cannot be had, say why instead of the rest."""
    for subject in subjects:
        try:
            yield from tell(subject)
        except UserError as error:
            yield Paragraph(str(error), missing=True)
