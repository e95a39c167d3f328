"""Figures as SVG elements that stand within a page."""

from __future__ import annotations

import re
from io import StringIO
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.figure import Figure

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


def svg_of(figure: Figure, name: str, label: str) -> str:
    """Return a figure as an `<svg>` element for a page that holds several.

    The element has the figure's natural width, and its height follows from the view box, so that a page may set another
    width. Text is text. All ids, those of `nas_mer.view.canvas.mark` too, begin with `name-`.

    Args:
        figure: the figure.
        name: the element's id, which no other element of the page may have; letters, digits, `-` and `_`.
        label: what it shows, for those who do not see it.
    """
    written = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "nas-mer"}):
        figure.savefig(written, format="svg")
    root = ElementTree.fromstring(written.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    del root.attrib["height"]
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _prefixed(key, value, name))
        if element.tag == f"{{{_SVG}}}style":
            element.text = f"#{name} {element.text}"
    root.attrib |= {"id": name, "role": "img", "aria-labelledby": f"{name}-title"}
    title = ElementTree.Element(f"{{{_SVG}}}title", {"id": f"{name}-title"})
    title.text = label
    root.insert(0, title)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _prefixed(key: str, value: str, name: str) -> str:
    """Return an attribute's value with `name-` before the ids in it."""
    if key == "id":
        return f"{name}-{value}"
    if key == f"{{{_XLINK}}}href":
        return re.sub("^#", f"#{name}-", value)
    return value.replace("url(#", f"url(#{name}-")
