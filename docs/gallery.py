"""Make docs/gallery.md and its pictures of a demo.

    make gallery        # makes the demo first, if there is none

Each picture is made by the command that stands above it.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

PICTURES = Path(__file__).parent / "images" / "gallery"

ENTRIES = [
    ("A space with all its options", "graph rcn -o space.svg"),
    (
        "A space in which every state chooses its convolution, its inputs and its attention hop",
        "graph rcn_placements -o placements.svg",
    ),
    ("A space of cells, each drawn once", "graph darts_cnn -o darts.svg"),
    ("The paper's RCN-F, a genotype", "graph rcn-f -o rcn-f.svg"),
    ("A searched space: weights, entropy and the derived choice", "graph {demo}/search -o weights.svg"),
    ("How the search came to it", "graph {demo}/search --view history -o history.svg"),
    ("The scores of its top 3", "graph {demo}/retrain -o scores.svg"),
    ("Their confusion matrices", "graph {demo}/retrain --view confusion -o confusion.svg"),
    ("On each subject while it was held out", "graph {demo}/retrain --view subjects -o subjects.svg"),
    ("The search's order beside the scores'", "graph {demo}/retrain --view ranks -o ranks.svg"),
    ("Differences, paired over subjects", "graph {demo}/retrain --view differences -o differences.svg"),
    (
        "What the networks look at in a clip",
        "predict {demo}/retrain:top1 casme2/sub01/EP01_01f -o clip.png",
    ),
]

HEAD = """# Gallery

What `nas-mer` draws, of the demo's synthetic people (`make demo`) and of shipped spaces. `make gallery` makes this page
anew. The same pictures and more are in the report: `nas-mer report RUN... -o report.html` ([report.md](report.md)).
"""


def main() -> None:
    """Make all pictures and the page."""
    demo = sys.argv[1]
    PICTURES.mkdir(parents=True, exist_ok=True)
    page = [HEAD]
    for title, command in ENTRIES:
        shown = f"nas-mer {command.format(demo=demo)}"
        *words, name = shlex.split(shown)
        subprocess.run([Path(sys.executable).with_name("nas-mer"), *words[1:], PICTURES / name], check=True)
        page.append(f"## {title}\n\n```sh\n{shown}\n```\n\n![{title}](images/gallery/{name})\n")
    Path(__file__).with_suffix(".md").write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
