"""From predictions to scores: UAR and UF1, their confidence intervals over subjects, paired tests, and tables."""

from nas_mer.score.compare import Comparison, Contrast, Difference, compare
from nas_mer.score.intervals import RESAMPLES, Interval
from nas_mer.score.metrics import confusion, f1_scores, recalls, uar, uf1
from nas_mer.score.predictions import Predictions, fullest
from nas_mer.score.scores import Score, ScoreRow, as_json, by_genotype, score
from nas_mer.score.tables import class_table, comparison_table, score_table

__all__ = [
    "RESAMPLES",
    "Comparison",
    "Contrast",
    "Difference",
    "Interval",
    "Predictions",
    "Score",
    "ScoreRow",
    "as_json",
    "by_genotype",
    "class_table",
    "compare",
    "comparison_table",
    "confusion",
    "f1_scores",
    "fullest",
    "recalls",
    "score",
    "score_table",
    "uar",
    "uf1",
]
