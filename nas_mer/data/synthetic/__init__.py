"""Made-up faces on film: portraits that move by action units, and a composite of three databases of them."""

from nas_mer.data.synthetic.composite import perform, synth

__all__ = ["perform", "synth"]
