"""From recordings as their databases deliver them to flow maps."""

from nas_mer.data.frames.clips import Clip
from nas_mer.data.frames.layout import Layout, load_layout
from nas_mer.data.frames.prepare import Preparation, Prepared, prepare
from nas_mer.data.frames.release import Release, find_release

__all__ = ["Clip", "Layout", "Preparation", "Prepared", "Release", "find_release", "load_layout", "prepare"]
