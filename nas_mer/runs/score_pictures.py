"""Pictures of a retraining run, as far as it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from nas_mer.data.tables import listed
from nas_mer.errors import UserError
from nas_mer.runs.folder import Run
from nas_mer.runs.predicting import activation_figure
from nas_mer.runs.scored import Scored
from nas_mer.score import compare
from nas_mer.view import confusion_figure, differences_figure, ranks_figure, scores_figure, subjects_figure


@dataclass(frozen=True)
class Picture:
    """A figure, and what to know of it."""

    figure: Figure
    notes: list[str]


def scores_picture(run: Run[Any], genotype: str | None = None) -> Picture:
    """Draw UAR and UF1 of all genotypes or of one, beside what the paper reports of them."""
    scored = Scored(run, genotype)
    remarks = scored.remarks() if scored.published else []
    return Picture(scores_figure(scored.rows, scored.published), [*scored.notes, *remarks])


def confusion_picture(run: Run[Any], genotype: str | None = None) -> Picture:
    """Draw the confusion matrices of all genotypes or of one."""
    scored = Scored(run, genotype)
    return Picture(confusion_figure(scored.rows), scored.notes)


def subjects_picture(run: Run[Any], genotype: str | None = None) -> Picture:
    """Draw the accuracy on each subject, over all genotypes or of one."""
    scored = Scored(run, genotype)
    return Picture(subjects_figure([one for group in scored.groups.values() for one in group]), scored.notes)


def ranks_picture(run: Run[Any], genotype: str | None = None) -> Picture:
    """Draw the searched genotypes' ranks by joint weight beside those by score.

    Raises:
        UserError: one genotype is named, or the run has fewer than two of one search.
    """
    if genotype is not None:
        raise UserError(f"{run.path}:{genotype}: ranks are of all searched genotypes; leave out ':{genotype}'")
    return ranks_of(Scored(run))


def ranks_of(scored: Scored) -> Picture:
    """Draw what `ranks_picture` does, of scores that are there.

    Raises:
        UserError: the run has fewer than two genotypes of one search.
    """
    searched = scored.searched
    if len(searched) < 2:
        raise UserError(
            f"{scored.run.path}: ranks need at least two genotypes that one search found, this run has "
            f"{len(searched)}; retrain a search's by naming its run: nas-mer retrain SEARCH_RUN --data ..."
        )
    rows = [row for row in scored.rows if row.genotype in searched]
    most = max(row.composite.samples for row in rows)
    ranked = [row for row in rows if row.composite.samples == most]
    if len(ranked) < 2:
        raise UserError(
            f"{scored.run.path}: ranks need at least two searched genotypes that cover the same samples; continue "
            f"the run with: nas-mer runs resume {scored.run.path}"
        )
    fewer = [row.genotype for row in rows if row not in ranked]
    unlike = [f"not ranked, with fewer samples than others: {listed(fewer)}"] if fewer else []
    weights = {row.genotype: searched[row.genotype].weight or 0.0 for row in ranked}
    return Picture(ranks_figure(weights, ranked), [*scored.notes, *unlike])


def differences_picture(run: Run[Any], genotype: str | None = None) -> Picture:
    """Draw the paired differences of all other genotypes from one, by default the first.

    Raises:
        UserError: the run has one genotype, or no other one covers the same samples.
    """
    scored = Scored(run)
    Scored(run, genotype).predictions  # noqa: B018 - is it one of the run's?
    if len(scored.groups) < 2:
        (name,) = scored.groups
        raise UserError(f"{run.path}: differences need at least two genotypes, this run has {name} alone")
    first = genotype or next(iter(scored.groups))
    base = scored.groups[first]
    samples = set(base[0].keys())
    others = {name: group for name, group in scored.groups.items() if name != first}
    alike = [name for name, group in others.items() if set(group[0].keys()) == samples]
    if not alike:
        raise UserError(
            f"{run.path}: no other genotype covers the samples of {first} yet; continue the run with: "
            f"nas-mer runs resume {run.path}"
        )
    left_out = [name for name in others if name not in alike]
    unlike = [f"not compared, with other samples than {first}: {listed(left_out)}"] if left_out else []
    figure = differences_figure([compare(base, others[name]) for name in alike])
    return Picture(figure, [*scored.notes, *unlike])


def activation_picture(run: Run[Any], genotype: str | None = None) -> Picture:
    """Draw what the networks of one genotype, by default the first, look at in some samples."""
    return Picture(activation_figure(run, genotype=genotype), [])


RETRAIN_VIEWS: dict[str, Callable[[Run[Any], str | None], Picture]] = {
    "scores": scores_picture,
    "confusion": confusion_picture,
    "subjects": subjects_picture,
    "ranks": ranks_picture,
    "differences": differences_picture,
    "activation": activation_picture,
}
"""What can be drawn of a retraining run, or of one of its genotypes."""
