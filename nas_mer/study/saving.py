"""A study as files: numbers, a page, and pictures."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from nas_mer.files import write_json, write_text
from nas_mer.study.pictures import PICTURES
from nas_mer.study.study import Study
from nas_mer.study.tables import markdown, study_as_json, study_records
from nas_mer.view import save


def save_study(study: Study, folder: Path) -> None:
    """Write `study.json`, `study.csv`, `study.md` and pictures into a folder, each whole or not at all.

    Other files that are there stay.
    """
    files = [f"{name}.svg" for name in PICTURES]
    for file, figure in zip(files, PICTURES.values(), strict=True):
        save(figure(study), folder / file)
    write_json(folder / "study.json", study_as_json(study))
    write_text(folder / "study.csv", _csv(study))
    write_text(folder / "study.md", markdown(study, files))


def _csv(study: Study) -> str:
    """Return a row a run."""
    records = study_records(study)
    fields = dict.fromkeys(field for record in records for field in record)
    text = io.StringIO()
    table = csv.DictWriter(text, list(fields), lineterminator="\n")
    table.writeheader()
    table.writerows(records)
    return text.getvalue()
