"""From recordings as their databases deliver them to flow maps."""

from nas_mer.data.frames.clips import Clip
from nas_mer.data.frames.footage import Footage, in_form_of, is_told, map_of, paired, preparation_like, read_footage
from nas_mer.data.frames.layout import Layout, load_layout
from nas_mer.data.frames.prepare import Preparation, Prepared, prepare, thumbnail
from nas_mer.data.frames.release import Release, find_release

__all__ = [
    "Clip",
    "Footage",
    "Layout",
    "Preparation",
    "Prepared",
    "Release",
    "find_release",
    "in_form_of",
    "is_told",
    "load_layout",
    "map_of",
    "paired",
    "preparation_like",
    "prepare",
    "read_footage",
    "thumbnail",
]
