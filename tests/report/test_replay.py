"""The script that moves a searched space's picture: what it makes of one picture is what Python draws."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from nas_mer.space import SearchSpace
from nas_mer.view import architecture_figure, svg_of

SCRIPT = Path(__file__).parents[2] / "nas_mer" / "report" / "replay.js"

# Ops on edges, some of which are dropped, so that the best genotype need not have each decision's heaviest option.
KEEPS = """
version: 1
name: keeps
input: {channels: 3, size: 16}
modules: {edge: {choose: {none: none, conv+3: conv, skip: skip}}}
states:
  stem: {from: input, module: {op: conv, channels: 4}}
  a: {keep: 1, from: [{stem: {choose: {none: none, conv+5: {op: conv, kernel: 5}}}}]}
  b: {keep: 1, from: [{stem: edge}, {a: edge}]}
head: {from: b, pool: 2}
"""

# As much of a page as the script asks for.
PAGE = """
const { figure, weights, choices } = JSON.parse(require("fs").readFileSync(0));
const groups = figure.groups.map(({ id, path, text }) => ({
  id,
  path: path && { ...path, getAttribute: (name) => path[name], setAttribute(name, value) { this[name] = value; } },
  text: text && { textContent: text },
  querySelector(tag) { return this[tag]; },
}));
replay({ id: figure.id, querySelectorAll: () => groups }, weights, choices);
console.log(JSON.stringify(groups.map(({ id, path, text }) => ({
  id, path: path && { d: path.d, style: path.style }, text: text && text.textContent,
}))));
"""


@pytest.fixture(scope="module")
def node():
    program = shutil.which("node")
    if program is None:
        pytest.skip("running the script needs node")
    return program


def replayed(node, svg, weights, choices=None):
    command = [node, "-e", SCRIPT.read_text() + PAGE]
    given = json.dumps({"figure": groups(svg), "weights": weights, **({"choices": choices} if choices else {})})
    return json.loads(subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout)


def groups(svg):
    """What a page's script sees of a picture: its named groups with their first path and first line of text."""
    root = ElementTree.fromstring(svg)
    found = []
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        path, text = (next(group.iter(f"{{http://www.w3.org/2000/svg}}{tag}"), None) for tag in ("path", "text"))
        if "id" in group.attrib:
            style = None if path is None else dict(re.findall(r"([\w-]+): ([^;]+)", path.get("style", "")))
            path = None if path is None else {"d": path.get("d"), "style": style}
            found.append({"id": group.get("id"), "path": path, "text": None if text is None else text.text})
    return {"id": root.get("id"), "groups": found}


def check_alike(found, expected):
    """Check that two pictures look the same, the second as Python wrote it."""
    for one, other in zip(found, expected["groups"], strict=True):
        assert (one["id"], one["text"]) == (other["id"], other["text"])
        styles, numbers = zip(looks(one["path"]), looks(other["path"]), strict=True)
        assert styles[0] == styles[1], one["id"]
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-3), one["id"]


def looks(path):
    """The colours of a path, and its opacity, width, dashes and corners."""
    if path is None:
        return {}, []
    style = {re.sub("[A-Z]", lambda m: f"-{m[0].lower()}", name): value for name, value in path["style"].items()}
    dashes = re.findall(r"[\d.]+", style.pop("stroke-dasharray", ""))
    opacity, width = style.pop("opacity", 1), style.pop("stroke-width", 1)
    corners = re.findall(r"[-\d.]+", path["d"])
    return style, [float(number) for number in (opacity, width if "stroke" in style else 0, *dashes, *corners)]


def random_weights(space, seed):
    rng = np.random.default_rng(seed)
    return {
        decision: dict(zip(options, rng.dirichlet([0.5] * len(options)).tolist(), strict=True))
        for decision, options in space.decisions.items()
    }


def picture(space, weights):
    return svg_of(architecture_figure(space, weights), "picture", "weights")


@pytest.mark.parametrize("space", [SearchSpace.load("rcn"), SearchSpace.parse(KEEPS)], ids=lambda space: space.name)
def test_a_replayed_picture_is_the_picture_drawn(node, space):
    first, then = picture(space, random_weights(space, 0)), random_weights(space, 1)
    (best,) = space.top(then, 1)
    moved, drawn = replayed(node, first, then, best.choices), groups(picture(space, then))
    check_alike(moved, drawn)
    assert sum(one["path"] != other["path"] for one, other in zip(moved, groups(first)["groups"], strict=True)) > 9
    if not space.rules:  # the heaviest options are the genotype
        assert replayed(node, first, then) == moved


def test_from_equal_weights_to_certainty(node):
    space = SearchSpace.load("rcn")
    even = {decision: dict.fromkeys(options, 1 / len(options)) for decision, options in space.decisions.items()}
    sure = {decision: {o: float(o == options[-1]) for o in options} for decision, options in space.decisions.items()}
    check_alike(replayed(node, picture(space, even), sure), groups(picture(space, sure)))
