"""The truth about searches: what they find, against the table of all networks of their space."""

from nas_mer.study.saving import save_study
from nas_mer.study.study import Study, study
from nas_mer.study.tables import grids, study_as_json

__all__ = ["Study", "grids", "save_study", "study", "study_as_json"]
