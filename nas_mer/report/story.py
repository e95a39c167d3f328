"""What a report tells of runs: their data, space, search, genotypes and scores, and how to repeat them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from nas_mer.data import montage_figure
from nas_mer.report.choices import Chosen
from nas_mer.report.document import Heading, Paragraph, Part, Picture, Section, Source, Table, told
from nas_mer.report.retrainings import Retrained, side_by_side
from nas_mer.report.searches import Searched, winners
from nas_mer.runs import Run
from nas_mer.runs.folder import DatasetReference, distinct_names
from nas_mer.space import SearchSpace
from nas_mer.view import architecture_figure
from nas_mer.words import plural


def story(runs: Sequence[Run[Any]]) -> list[Section]:
    """Return the sections of a report on some runs. What a run lacks is named where it would stand."""
    named = dict(zip(distinct_names(runs), runs, strict=True))
    searches = [Searched(run, name) for name, run in named.items() if run.kind == "search"]
    choices = [Chosen(run, name) for name, run in named.items() if run.kind == "choose"]
    retrainings = [Retrained(run, name) for name, run in named.items() if run.kind == "retrain"]
    datasets = {run.config.dataset.fingerprint: run.config.dataset for run in runs}
    summary = [
        *told(Searched.summary, searches),
        *told(Chosen.summary, choices),
        *told(Retrained.summary, retrainings),
    ]
    genotypes = [
        *told(Searched.genotypes, searches),
        *told(Chosen.described, choices),
        *told(Retrained.described, retrainings),
    ]
    sections = [
        Section("summary", "What came out", summary),
        Section("data", "Data", [*told(_dataset, datasets.values())]),
        Section("space", "Search space", [*_spaces([*searches, *choices, *retrainings])]),
        Section("search", "Search", [*_searches(searches)] if searches or not choices else []),
        Section("choice", "Choice", [*_choices(choices)]),
        Section("genotypes", "Genotypes", genotypes),
        Section("scores", "Scores", [*_scores(retrainings)]),
        Section("attention", "What the networks look at", [*told(Retrained.activation, retrainings)]),
        Section("repeat", "How to repeat it", [*_repeat(named)]),
    ]
    return [section for section in sections if section.parts]


def _dataset(reference: DatasetReference) -> Iterator[Part]:
    dataset = reference.load()
    people = len(np.unique(dataset.subjects))
    shape = "\u00d7".join(map(str, dataset.maps.shape[1:]))
    yield Paragraph(
        f"{dataset.name}: {plural(len(dataset), 'flow map')} of {shape} (horizontal flow, vertical flow, optical "
        f"strain) of {plural(people, 'subject')}; fingerprint {dataset.fingerprint}."
    )
    subjects = {name: len(np.unique(dataset.subjects[dataset.databases == name])) for name in dataset.counts()}
    rows = [[name, *counts.values(), sum(counts.values()), subjects[name]] for name, counts in dataset.counts().items()]
    yield Table("Samples by database and class", ["database", *dataset.classes, "samples", "subjects"], rows)
    yield Picture("maps", "Some samples of each database and class", montage_figure(dataset, 3), folded=True)


def _spaces(runs: Iterable[Searched | Chosen | Retrained]) -> Iterator[Part]:
    """Tell of each space once, though several runs have it."""
    known: set[str] = set()

    def fresh(run: Searched | Chosen | Retrained) -> Iterator[Part]:
        for space in run.spaces:
            if space.hash not in known:
                known.add(space.hash)
                yield from _space(space)

    return told(fresh, runs)


def _space(space: SearchSpace) -> Iterator[Part]:
    yield Heading(f"{space.name}: {space.title}" if space.title else space.name)
    size = f"{plural(space.size, 'genotype')}, {plural(len(space.decisions), 'decision')}"
    yield Paragraph(f"{size}; content hash {space.hash}.")
    yield Picture(f"{space.name}-space", f"The space {space.name} with all its options", architecture_figure(space))
    rows = [[name, len(options), ", ".join(options)] for name, options in space.decisions.items()]
    yield Table(f"Decisions of {space.name}", ["decision", "options", "their names"], rows, folded=True)
    yield Source(f"The space's file {space.name}.yaml", space.source)


def _searches(searches: Sequence[Searched]) -> Iterator[Part]:
    if not searches:
        yield Paragraph("No search run is in this report; add one to see its weights and history.", missing=True)
    weighed = [one for one in searches if one.begun and one.verdicts]
    if len(weighed) > 1:
        yield Heading("All searches")
        yield winners(weighed)
    for one in searches:
        yield Heading(one.name)
        yield from told(Searched.details, [one])


def _choices(choices: Sequence[Chosen]) -> Iterator[Part]:
    for one in choices:
        yield Heading(one.name)
        yield from told(Chosen.details, [one])


def _scores(retrainings: Sequence[Retrained]) -> Iterator[Part]:
    if not retrainings:
        yield Paragraph("No retraining run is in this report; add one to see its scores.", missing=True)
    begun = [one for one in retrainings if one.begun]
    if len(begun) > 1:
        yield Heading("All runs")
        yield from side_by_side(begun)
    for one in retrainings:
        yield Heading(one.name)
        yield from told(Retrained.scores, [one])


def _repeat(runs: Mapping[str, Run[Any]]) -> Iterator[Part]:
    yield Paragraph(
        "A run is a function of its configuration: the same versions, dataset and command give the same numbers, bit "
        "for bit on a CPU."
    )
    for name, run in runs.items():
        yield Heading(name)
        versions = ", ".join(f"{what} {version}" for what, version in run.about["versions"].items())
        machine = ", ".join(f"{what} {value}" for what, value in run.about["machine"].items())
        dataset = run.config.dataset
        yield Paragraph(
            f"Started {run.created:%Y-%m-%d %H:%M} UTC on {machine}; {versions}; dataset {dataset.name} with the "
            f"fingerprint {dataset.fingerprint}."
        )
        yield Source("Command", shlex.join(run.about["command"]), folded=False)
        config = yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        yield Source(f"Configuration of {name}", config.rstrip())
