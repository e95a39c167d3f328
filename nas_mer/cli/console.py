"""What the command line prints: results to stdout, progress and notes to stderr."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from nas_mer.data.tables import listed, plural
from nas_mer.space import Genotype
from nas_mer.space.genotype import in_words

# What a user named is shown as it is, without a look for markup in it.
out = Console(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


@contextmanager
def progress_bar(run: Path | None = None, resume: str = "") -> Iterator[Any]:
    """Show a bar with time left on stderr; say how to continue a run, or anything else, that is interrupted."""
    text = TextColumn("{task.description}", markup=False)
    columns = BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("left"), text
    # A step may take minutes: the speed is that of the last ten.
    bar = Progress(*columns, console=err, transient=True, disable=not err.is_terminal, speed_estimate_period=600)
    task = bar.add_task("", total=None)
    try:
        with bar:
            yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)
    except KeyboardInterrupt:
        if run is not None and run.exists():
            resume = f"continue it with: nas-mer runs resume {run}"
        err.print("; ".join(filter(None, ["interrupted", resume])), soft_wrap=True)
        raise typer.Exit(1) from None


def say(word: str, colour: str, text: str) -> None:
    """Print to stderr, after a coloured word."""
    err.print(Text.assemble((f"{word}:", colour), f" {text}"), soft_wrap=True)


def note(text: str) -> None:
    """Print a note to stderr."""
    say("note", "yellow", text)


def print_json(value: object) -> None:
    """Print one JSON document to stdout."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def print_dataset(dataset: Any, folder: Path) -> None:
    """Print how many samples a dataset has of each database, class and subject."""
    shape = "x".join(map(str, dataset.maps.shape[1:]))
    subjects = len(set(dataset.subjects.tolist()))
    out.print(f"{folder}: {len(dataset)} maps of {shape}, {subjects} subjects", soft_wrap=True)
    table = Table("database", *dataset.classes, "samples", "subjects", box=None, pad_edge=False)
    for database, counts in dataset.counts().items():
        people = len(set(dataset.subjects[dataset.databases == database].tolist()))
        table.add_row(database, *map(str, counts.values()), str(sum(counts.values())), str(people))
    out.print(table)
    for database in dataset.counts():
        clips = Counter(sample.subject for sample in dataset.samples if sample.database == database)
        out.print(f"{database}: " + ", ".join(f"{subject} {count}" for subject, count in clips.items()))


def print_release(release: Any) -> None:
    """Print what was found of a database, what was left out of it or corrected, and what is odd about it."""
    layout = release.layout
    file = release.annotation.name if release.annotation else "the folders' names"
    counts = ", ".join(f"{label} {count}" for label, count in release.counts.items())
    out.print(f"{layout.title}: {len(release.clips)} clips ({counts})", style="bold")
    out.print(f"  {release.form} frames below {release.root}, annotated by {file}", soft_wrap=True)
    if layout.megc2019 and len(release.clips) != layout.megc2019:
        out.print(f"  the MEGC2019 composite has {layout.megc2019} of it")
    for reason, clips in release.left_out.items():
        out.print(f"  left out {len(clips)}, {reason}: {listed(clips, limit=3)}", soft_wrap=True)
    for clip, what in release.corrected.items():
        out.print(f"  corrected {clip}: {what}", soft_wrap=True)
    if release.unmentioned:
        out.print(f"  folders that the annotation says nothing about: {listed(release.unmentioned)}", soft_wrap=True)
    if release.archives:
        out.print(f"  archives that lie there, perhaps to be unpacked: {listed(release.archives)}", soft_wrap=True)


def print_prepared(prepared: Any, folder: Path) -> None:
    """Print the dataset that was made, and every clip that is not in it."""
    print_dataset(prepared.dataset, folder)
    if prepared.unregistered:
        note(f"no head drift was found in {listed(prepared.unregistered)}; their maps have what there is")
    spotted = [clip for clip, origin in prepared.origins.items() if origin["apex_from"] != "annotation"]
    if spotted:
        out.print(f"apex spotted in {plural(len(spotted), 'clip')} where nobody had marked it")
    if prepared.missing:
        head = f"not there of the ground truth: {plural(len(prepared.missing), 'sample')}; is all unpacked?"
        say("error", "red", "\n  ".join([head, *prepared.missing]))
    if prepared.broken:
        count = plural(len(prepared.broken), "clip")
        reasons = [f"  {clip}: {why}".replace("\n", "\n    ") for clip, why in prepared.broken.items()]
        say("error", "red", "\n".join([f"{count} could not be used; the dataset has all others", *reasons]))


def print_search(run: Any) -> None:
    """Print what a search came to, how far its seeds agree, and the derived genotypes."""
    result, nested = run.result, run.config.protocol == "nested"
    searches = "folds" if nested else "seeds"
    out.print(Text(str(run.path), "bold"), soft_wrap=True)
    if "decisions" in result:
        print_decisions(result["decisions"], searches)
    else:
        print_trials(result, run.config.strategy)
    if result["overlap"] is not None:
        overlap = f"{result['overlap']:.0%} (Jaccard index, mean over pairs)"
        out.print(f"the {searches}' top {run.config.top} overlap by {overlap}")
    for failure in result["failures"].values():
        note(f"{failure}; it has no part in the genotypes")
    if nested:
        print_folds(result, run.path)
        return
    out.print(
        "protocol shared: the search has seen every subject, "
        "so a LOSO score of its genotypes on this dataset is optimistic"
    )
    files = sorted((run.path / "genotypes").glob("*.yaml"))
    print_genotypes(sorted((Genotype.load(file) for file in files), key=lambda genotype: genotype.rank or 0), run.path)


def print_decisions(decisions: Any, searches: str) -> None:
    """Print how decided each decision of a search is."""
    headings = "decision", "winner", "weight", "second", "weight", "decided", f"{searches} agree"
    table = Table(*headings, box=None, pad_edge=False)
    for name, part in decisions.items():
        spread = "" if part["spread"] is None else f" ± {part['spread']:.3f}"
        weight = f"{part['weight']:.3f}{spread}"
        table.add_row(
            name, part["winner"], weight, part["second"] or "-", f"{part['second_weight']:.3f}",
            f"{part['decided']:.1%}", f"{part['agreement']:.0%}",
        )  # fmt: skip
    out.print(table)


def print_trials(result: Any, strategy: str) -> None:
    """Print the best genotypes of a search that judged them one by one."""
    out.print(f"strategy {strategy}: no architecture weights; {plural(result['tried'], 'network')} judged, the best:")
    table = Table("rank", "validation UAR", "loss", "searches", "choices", box=None, pad_edge=False)
    for row in result["trials"]:
        numbers = f"{row['valid_uar']:.3f}", f"{row['valid_loss']:.3f}", str(row["searches"])
        table.add_row(str(row["rank"]), *numbers, in_words(row["choices"]))
    out.print(table)


def print_folds(result: Any, run: Path) -> None:
    """Print what the folds of a nested search chose, and how to retrain it."""
    folds = len(result["folds"])
    table = Table("decision", "chosen in how many folds", box=None, pad_edge=False)
    for decision, options in result["chosen"].items():
        ordered = sorted(((share, option) for option, share in options.items() if share), key=lambda pair: -pair[0])
        table.add_row(decision, ", ".join(f"{option} {round(share * folds)}" for share, option in ordered))
    out.print(table)
    kinds = Counter(in_words(found["choices"]) for found in result["folds"].values())
    choices, times = kinds.most_common(1)[0]
    out.print(f"{plural(len(kinds), 'different genotype')} in {folds} folds; in {times} of them {choices}")
    out.print(
        f"protocol nested: each fold's genotype, in {run / 'folds'}, has not seen the fold's subject; score them with: "
        f"nas-mer retrain {run} --data ...",
        soft_wrap=True,
    )


def print_genotypes(genotypes: list[Genotype], run: Path) -> None:
    """Print derived genotypes and their files."""
    out.print(f"genotypes in {run / 'genotypes'}:", soft_wrap=True)
    table = Table("file", "joint weight", "choices", box=None, pad_edge=False)
    for genotype in genotypes:
        weight = "-" if genotype.weight is None else f"{genotype.weight:.4g}"
        table.add_row(f"{genotype.name}.yaml", weight, genotype.text)
    out.print(table)


def print_scores(runs: list[Any], detail: bool = False, published: bool = False) -> None:
    """Print the scores of retraining runs, what they lack, and what the paper reports of the same."""
    from nas_mer.runs.scored import Scored
    from nas_mer.score import class_table, score_table

    for scored in map(Scored, runs):
        reported, others = (scored.published, scored.compared) if published else ({}, [])
        out.print(Text(str(scored.run.path), "bold"), soft_wrap=True)
        out.print(score_table(scored.rows, published=reported, compared=others))
        if detail:
            for row in scored.rows:
                out.print(class_table(row))
        for text in [*scored.notes, *(scored.remarks() if published else [])]:
            note(text)
