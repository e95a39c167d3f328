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

from nas_mer.space import Genotype
from nas_mer.space.genotype import in_words
from nas_mer.words import listed, plural

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
    if release.unmet:
        out.print(f"  left out or corrected by the layout, but not there: {listed(release.unmet)}", soft_wrap=True)
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
        print_trials(run)
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


def print_trials(run: Any) -> None:
    """Print the best genotypes of a search that judged them one by one, and those that none beats."""
    result = run.result
    out.print(
        f"strategy {run.config.strategy}: no architecture weights; {plural(result['tried'], 'network')} judged, "
        "the best:"
    )
    _print_judged(result["trials"], result["objectives"])
    if len(result["objectives"]) > 1:
        out.print(f"beaten by none in all of {', '.join(result['objectives'])}:")
        _print_judged(result["front"], result["objectives"])
    for reason, count in result["failed"].items():
        note(f"{plural(count, 'trial')} failed: {reason}")
    if run.config.protocol == "shared" and any(axis.of == "recipe" for axis in run.config.tune):
        recipes = run.path / "recipes"
        out.print(
            f"what was tuned of the recipe is in {recipes}, not in the genotypes; retrain with both, as in: nas-mer "
            f"retrain {run.path / 'genotypes' / 'top1.yaml'} --recipe {recipes / 'top1.yaml'} --data ...",
            soft_wrap=True,
        )


def _print_judged(rows: Any, objectives: list[str]) -> None:
    """Print genotypes with what they were tuned to and their values of all objectives."""
    from nas_mer.search import OBJECTIVES
    from nas_mer.search.tuning import in_words as value_in_words

    others = [name for name in objectives if name != "uar"]
    headings = [OBJECTIVES[name].heading for name in others]
    table = Table("rank", "validation UAR", "loss", *headings, "searches", "choices", box=None, pad_edge=False)
    for row in rows:
        costs = [format(row["measured"][name], OBJECTIVES[name].form) for name in others]
        tuned = {name: value_in_words(value) for name, value in {**row["parameters"], **row["recipe"]}.items()}
        numbers = f"{row['valid_uar']:.3f}", f"{row['valid_loss']:.3f}", *costs, str(row["searches"])
        table.add_row(str(row["rank"]), *numbers, in_words({**row["choices"], **tuned}))
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


def print_choice(run: Any) -> None:
    """Print how the candidates of a choice did, what each group has got, and how to train it."""
    result = run.result
    out.print(Text(str(run.path), "bold"), soft_wrap=True)
    table = Table("genotype", "recipe", "UAR", "UF1", "chosen by", box=None, pad_edge=False)
    for row in sorted(result["candidates"], key=lambda row: -row["chosen"]):
        scores = f"{row['uar']:.3f}", f"{row['uf1']:.3f}"
        table.add_row(row["genotype"], row["recipe"], *scores, f"{row['chosen']} of {len(result['groups'])} groups")
    out.print(table)
    out.print("UAR, UF1: of cross-validation among all groups but one, mean over that one; see result.json for each")
    for text in result["notes"]:
        note(text)
    out.print(
        f"no subject had a say in its own group's choice; score it with: nas-mer retrain {run.path} --data ...",
        soft_wrap=True,
    )


def print_run(run: Any) -> None:
    """Print what came out of a finished run."""
    match run.kind:
        case "search":
            print_search(run)
        case "choose":
            print_choice(run)
        case "retrain":
            print_scores([run])


def print_genotypes(genotypes: list[Genotype], run: Path) -> None:
    """Print derived genotypes and their files."""
    out.print(f"genotypes in {run / 'genotypes'}:", soft_wrap=True)
    tuned = len({in_words(genotype.parameters) for genotype in genotypes}) > 1
    table = Table("file", "joint weight", "choices", *(["sizes"] if tuned else []), box=None, pad_edge=False)
    for genotype in genotypes:
        weight = "-" if genotype.weight is None else f"{genotype.weight:.4g}"
        sizes = [in_words(genotype.parameters) or "the space's own"] if tuned else []
        table.add_row(f"{genotype.name}.yaml", weight, genotype.text, *sizes)
    out.print(table)


def print_scores(runs: list[Any], detail: bool = False, published: bool = False, average: bool = False) -> None:
    """Print the scores of retraining runs, what they lack, and what the paper reports of the same."""
    from nas_mer.runs.retrainings.scored import Scored
    from nas_mer.score import class_table, score_table

    for scored in (Scored(run, average=average) for run in runs):
        reported, others = (scored.published, scored.compared) if published else ({}, [])
        out.print(Text(str(scored.run.path), "bold"), soft_wrap=True)
        out.print(score_table(scored.rows, published=reported, compared=others))
        if detail:
            for row in scored.rows:
                out.print(class_table(row))
        for text in [*scored.notes, *(scored.remarks() if published else [])]:
            note(text)
