"""Pictures of a retraining run, as far as it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from nas_mer.errors import UserError
from nas_mer.runs.predicting import activation_figure
from nas_mer.runs.retrainings.scored import Scored
from nas_mer.view import confusion_figure, differences_figure, ranks_figure, scores_figure, subjects_figure
from nas_mer.words import listed


@dataclass(frozen=True)
class Picture:
    """A figure, and what to know of it."""

    figure: Figure
    notes: list[str]


def scores_picture(scored: Scored) -> Picture:
    """Draw UAR and UF1 of all genotypes or of one, beside what the paper reports of them."""
    remarks = scored.remarks() if scored.published else []
    return Picture(scores_figure(scored.rows, scored.published), [*scored.notes, *remarks])


def confusion_picture(scored: Scored) -> Picture:
    """Draw the confusion matrices of all genotypes or of one."""
    return Picture(confusion_figure(scored.rows), scored.notes)


def subjects_picture(scored: Scored) -> Picture:
    """Draw the accuracy on each subject, over all genotypes or of one."""
    return Picture(subjects_figure([one for group in scored.groups.values() for one in group]), scored.notes)


def ranks_picture(scored: Scored) -> Picture:
    """Draw the searched genotypes' ranks by joint weight beside those by score.

    Raises:
        UserError: one genotype is named, or the run has fewer than two of one search.
    """
    path, name, searched = scored.run.path, scored.genotype, scored.searched
    if name is not None:
        raise UserError(f"{path}:{name}: ranks are of all searched genotypes; leave out ':{name}'")
    if len(searched) < 2:
        raise UserError(
            f"{path}: ranks need at least two genotypes that one search found, this run has {len(searched)}; retrain a "
            "search's by naming its run: nas-mer retrain SEARCH_RUN --data ..."
        )
    rows = [row for row in scored.rows if row.genotype in searched]
    most = max(row.composite.samples for row in rows)
    ranked = [row for row in rows if row.composite.samples == most]
    if len(ranked) < 2:
        raise UserError(
            f"{path}: ranks need at least two searched genotypes that cover the same samples; continue the run with: "
            f"nas-mer runs resume {path}"
        )
    fewer = [row.genotype for row in rows if row not in ranked]
    unlike = [f"not ranked, with fewer samples than others: {listed(fewer)}"] if fewer else []
    weights = {row.genotype: searched[row.genotype].weight or 0.0 for row in ranked}
    return Picture(ranks_figure(weights, ranked), [*scored.notes, *unlike])


def differences_picture(scored: Scored) -> Picture:
    """Draw the paired differences of all other genotypes from one, by default the first.

    Raises:
        UserError: the run has one genotype, or no other one covers the same samples.
    """
    path, first, whole = scored.run.path, next(iter(scored.groups)), scored.whole
    others = [name for name in whole.groups if name != first]
    if not others:
        raise UserError(f"{path}: differences need at least two genotypes, this run has {first} alone")
    if not scored.comparisons:
        raise UserError(
            f"{path}: no other genotype covers the samples of {first} yet; continue the run with: "
            f"nas-mer runs resume {path}"
        )
    left_out = [name for name in others if name not in scored.comparisons]
    unlike = [f"not compared, with other samples than {first}: {listed(left_out)}"] if left_out else []
    return Picture(differences_figure(list(scored.comparisons.values())), [*whole.notes, *unlike])


def activation_picture(scored: Scored) -> Picture:
    """Draw what the networks of one genotype, by default the first, look at in some samples."""
    return Picture(activation_figure(scored.run, genotype=scored.genotype), [])


RETRAIN_VIEWS: dict[str, Callable[[Scored], Picture]] = {
    "scores": scores_picture,
    "confusion": confusion_picture,
    "subjects": subjects_picture,
    "ranks": ranks_picture,
    "differences": differences_picture,
    "activation": activation_picture,
}
"""What can be drawn of a retraining run, or of one of its genotypes."""
