"""From predictions to scores: UAR and UF1, their confidence intervals over subjects, paired tests, and tables."""

from nas_mer.score.compare import Comparison, Contrast, Difference, compare
from nas_mer.score.grid import Grid
from nas_mer.score.intervals import RESAMPLES, Interval
from nas_mer.score.metrics import confusion, f1_scores, recalls, uar, uf1
from nas_mer.score.predictions import Predictions, averaged, fullest
from nas_mer.score.published import Published, compared, find_published, published
from nas_mer.score.records import published_records, score_records
from nas_mer.score.scores import Score, ScoreRow, as_json, by_genotype, score
from nas_mer.score.tables import class_table, comparison_table, score_table

__all__ = [
    "RESAMPLES",
    "Comparison",
    "Contrast",
    "Difference",
    "Grid",
    "Interval",
    "Predictions",
    "Published",
    "Score",
    "ScoreRow",
    "as_json",
    "averaged",
    "by_genotype",
    "class_table",
    "compare",
    "compared",
    "comparison_table",
    "confusion",
    "f1_scores",
    "find_published",
    "fullest",
    "published",
    "published_records",
    "recalls",
    "score",
    "score_records",
    "score_table",
    "uar",
    "uf1",
]
