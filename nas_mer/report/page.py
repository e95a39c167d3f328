"""A report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import count

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas_mer import __version__
from nas_mer.report.document import Picture, Section
from nas_mer.view.svg import svg_of

_LEAST = 0.75
"""A figure is shrunk to so much of its natural width where there is no more room; then it is scrolled."""


def page(title: str, about: str, sections: Sequence[Section]) -> str:
    """Return the page. All that comes from users' files is escaped; the page may load nothing from elsewhere."""
    numbers = count(1)

    def draw(picture: Picture) -> Markup:
        svg = svg_of(picture.figure, f"figure{next(numbers)}", picture.caption)
        return Markup(f'<div style="min-width: {_LEAST * picture.figure.get_figwidth():.2f}in">{svg}</div>')

    environment = Environment(
        loader=PackageLoader("nas_mer.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html.jinja").render(
        title=title,
        about=about,
        sections=sections,
        version=__version__,
        draw=draw,
        css=Markup(_own("page.css")),
        js=Markup(f"{_own('replay.js')}\n{_own('page.js')}"),
    )


def _own(name: str) -> str:
    return files("nas_mer.report").joinpath(name).read_text(encoding="utf-8")
