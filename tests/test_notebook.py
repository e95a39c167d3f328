from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TOUR = Path(__file__).parents[1] / "docs" / "tour.ipynb"


@pytest.fixture(scope="module")
def told():
    """What each cell of code shows: its kinds of display, and its text."""
    notebook = nbformat.read(TOUR, as_version=4)
    NotebookClient(notebook, timeout=300).execute()  # a cell that fails is an error
    shown = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            data = [output.data for output in cell.outputs if "data" in output]
            printed = [output.text for output in cell.outputs if output.output_type == "stream"]
            shown.append(
                ({kind for one in data for kind in one}, "".join([*printed, *(d["text/plain"] for d in data)]))
            )
    return shown


def test_it_is_stored_without_what_it_shows():
    cells = [cell for cell in nbformat.read(TOUR, as_version=4).cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.filterwarnings("default")  # of the kernel's libraries
def test_it_runs_and_shows_pictures_and_tables(told):
    assert any("56 genotypes" in text for _, text in told)
    assert sum("image/svg+xml" in kinds for kinds, _ in told) >= 2
    assert sum("text/html" in kinds for kinds, _ in told) >= 4
    assert any("def load(" in text for _, text in told)
