"""Layouts: how a database is delivered, as data in a YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nas_mer.placed_yaml import read_shipped
from nas_mer.words import did_you_mean

LAYOUTS = Path(__file__).parent / "layouts"
"""The folder of the shipped layouts."""

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
"""The suffixes that a frame's file may have, in any case."""

Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1)]

_PLACEHOLDER = re.compile(r"(\{\w*\}|\*)")
_BACK_REFERENCE = re.compile(r"\\[1-9]|(?<!\\)\(\?\(")


class Part(BaseModel):
    """A part of a layout: fixed once made, and without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Form(Part):
    """One way in which a database's frames are delivered.

    Attributes:
        path: where a frame lies: folders from anywhere below the database's folder on, and the file's name without its
            suffix. `{subject}`, `{clip}` and `{emotion}` stand for names, `{frame}` for the frame's number, `*` for
            anything within a name. Upper and lower case are alike.
        cropped: whether the frames show the face alone.
        trimmed: whether a clip's folder holds the frames from onset to offset and no others. It is then a clip even if
            nobody annotated it, and an onset or offset whose frame is missing moves to the next frame inwards.
        renumbered: whether the files of a clip are numbered anew, the first being the onset.
    """

    path: Text
    cropped: bool
    trimmed: bool = False
    renumbered: bool = False

    @field_validator("path")
    @classmethod
    def _has_placeholders(cls, path: str) -> str:
        *folders, file = path.split("/")
        found = {piece for piece in _PLACEHOLDER.findall(path) if piece != "*"}
        known = ("{subject}", "{clip}", "{emotion}", "{frame}")
        if unknown := found - set(known):
            raise ValueError(f"unknown placeholder {min(unknown)}{did_you_mean(min(unknown), known)}")
        if "{clip}" not in "/".join(folders) or not file.endswith("{frame}"):
            raise ValueError("must have {clip} in a folder and end with {frame}, as {subject}/{clip}/img{frame}")
        if twice := [f"{piece} in {part}" for part in path.split("/") for piece in known if part.count(piece) > 1]:
            raise ValueError(f"a name may have a placeholder only once, but {twice[0]} stands twice")
        return path

    def expected(self, subject: str, clip: str) -> str:
        """Return where a clip's frames should lie, for messages."""
        said = {"{subject}": subject, "{clip}": clip}
        return _PLACEHOLDER.sub(lambda piece: said.get(piece[0], "*"), self.path)


class Columns(Part):
    """The accepted spellings of the annotation's columns, best first; case, spaces and punctuation do not matter.

    Attributes:
        subject, clip, onset, offset: the columns that there must be.
        apex: None where nobody marked one.
        emotion: None where the folders or names of clips tell it.
    """

    subject: Texts
    clip: Texts
    onset: Texts
    apex: Texts | None = None
    offset: Texts
    emotion: Texts | None = None

    def spellings(self) -> dict[str, Texts]:
        """Return the spellings of each column that there is."""
        return {name: spellings for name, spellings in self if spellings}


class Correction(Part):
    """What is put in the place of a clip's annotation, and why.

    Attributes:
        cells: the new cells by column; `/` is a number that nobody knows, `last` an offset that is the last frame.
        because: the reason.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    cells: Annotated[dict[Literal["onset", "apex", "offset", "emotion"], str], Field(min_length=1)]
    because: Text


class Layout(Part):
    """How a database is delivered.

    Attributes:
        database: its identifier in manifests, as `casme2`.
        title: what people call it.
        rate: frames a second.
        subject: how subject number 1 is spelt, as `sub01`; cells and folders may have `1`, `01` or `Sub1`.
        clip: a regular expression for the whole name of a clip, by which other databases' files are told apart, without
            named groups, back-references and flags; case does not matter.
        sample: what a clip is called in the dataset: `{clip}`, and where one folder holds several clips also `{onset}`.
        forms: the ways in which frames are delivered, by name, best first.
        skip: folders that are not looked into, `*` standing for anything.
        annotation: what the annotation's file may be called, `*` standing for anything.
        columns: see `Columns`.
        classes: the emotions of each class; case does not matter.
        unclassified: emotions that are in no class.
        codes: emotions by the part of a clip's name, between underscores, that tells them.
        left_out: clips, as `subject/clip`, that the composite does without, and why.
        corrections: errata by clip.
        spot: whether clips without a marked apex are kept, so that it is spotted; else they are left out.
        megc2019: how many samples the MEGC2019 composite has of the database, if any.
    """

    database: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    title: Text
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    subject: Annotated[str, Field(pattern=r"^\D*0*1$")]
    clip: re.Pattern[str]
    sample: Text = "{clip}"
    forms: Annotated[dict[str, Form], Field(min_length=1)]
    skip: tuple[Text, ...] = ()
    annotation: Texts
    columns: Columns
    classes: Annotated[dict[Literal["negative", "positive", "surprise"], Texts], Field(min_length=1)]
    unclassified: tuple[Text, ...] = ()
    codes: dict[str, Text] = {}
    left_out: dict[str, Text] = {}
    corrections: dict[str, Correction] = {}
    spot: bool = True
    megc2019: Annotated[int, Field(ge=1)] | None = None

    @field_validator("clip")
    @classmethod
    def _fits_into_paths(cls, clip: re.Pattern[str]) -> re.Pattern[str]:
        if clip.groupindex or clip.flags != re.UNICODE or _BACK_REFERENCE.search(clip.pattern.replace(r"\\", "")):
            raise ValueError(
                "must do without named groups, back-references and flags, as it becomes a part of other expressions"
            )
        return clip

    @field_validator("sample")
    @classmethod
    def _names_the_clip(cls, sample: str) -> str:
        if "{clip}" not in sample or set(_PLACEHOLDER.findall(sample)) - {"{clip}", "{onset}"}:
            raise ValueError("must hold {clip}, and no other placeholder but {onset}")
        return sample

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        named = [emotion.lower() for group in (*self.classes.values(), self.unclassified) for emotion in group]
        if twice := {emotion for emotion in named if named.count(emotion) > 1}:
            raise ValueError(f"an emotion has one class, but there more than once: {', '.join(sorted(twice))}")
        if unknown := [emotion for emotion in self.codes.values() if emotion.lower() not in named]:
            raise ValueError(f"codes: emotions in neither classes nor unclassified: {', '.join(unknown)}")
        if not self.columns.emotion and "emotion" not in self.optional:
            raise ValueError("nothing tells a clip's emotion: add columns.emotion, codes, or {emotion} to each path")
        return self

    @cached_property
    def emotions(self) -> Mapping[str, str | None]:
        """The class of each emotion, in lower case; None for those that are in no class."""
        classes = {emotion.lower(): label for label, group in self.classes.items() for emotion in group}
        return {**classes, **{emotion.lower(): None for emotion in self.unclassified}}

    @property
    def optional(self) -> tuple[str, ...]:
        """The columns that an annotation may do without: the emotion, where each clip's folder or name tells it."""
        return ("emotion",) if all(map(self.tells_emotion, self.forms.values())) else ()

    def tells_emotion(self, form: Form) -> bool:
        """Return whether a clip's folder or name tells its emotion."""
        return bool(self.codes) or "{emotion}" in form.path

    def subject_of(self, written: str) -> str | None:
        """Return a subject's name as the manifest spells it, or None if this is not the name of a subject."""
        if not re.fullmatch(self._subject, "".join(written.split()), re.IGNORECASE):
            return None
        number = int(re.findall(r"\d+", written)[-1])
        return f"{self._prefix}{number:0{len(self.subject) - len(self._prefix)}}"

    def clip_of(self, subject: str, written: str) -> str:
        """Return a clip's name with the subject in it, if it begins with one, spelt as in the manifest."""
        first = re.split(r"[_-]", written)[0]
        whole = re.fullmatch(re.escape(self._prefix) + r"\d+", first, re.IGNORECASE)  # a bare number may be a session's
        prefixed = whole and first != written and self.subject_of(first) == subject
        return subject + written.removeprefix(first) if prefixed else written

    def code_of(self, clip: str) -> str | None:
        """Return the emotion that a clip's name tells."""
        codes = {code.lower(): emotion for code, emotion in self.codes.items()}
        return next((codes[part] for part in clip.lower().split("_") if part in codes), None)

    def components(self, form: Form) -> list[re.Pattern[str]]:
        """Return an expression for each part of a form's path; that of the file takes the suffix in, too."""
        stands = {
            "*": r".*?",
            "{subject}": rf"(?P<subject>{self._subject})",
            "{clip}": rf"(?P<clip>{self.clip.pattern})",
            "{emotion}": rf"(?P<emotion>{'|'.join(map(re.escape, self.emotions))})",
            "{frame}": rf"(?P<frame>\d+)(?:{'|'.join(map(re.escape, IMAGES))})",
        }
        return [
            re.compile(
                "".join(stands.get(piece, re.escape(piece)) for piece in _PLACEHOLDER.split(part)), re.IGNORECASE
            )
            for part in form.path.split("/")
        ]

    @property
    def _prefix(self) -> str:
        return self.subject.rstrip("01")

    @property
    def _subject(self) -> str:
        """An expression for a subject's name, which may do without the prefix."""
        return rf"(?:{re.escape(self._prefix)})?\d+"


def load_layout(name: str | Path) -> Layout:
    """Read a layout from a YAML file, or a shipped one by its name (`casme2`).

    Raises:
        UserError: there is no such layout, or a value in it is wrong (the message names file, line and key).
    """
    return read_shipped(name, Layout, LAYOUTS, "layout")
