"""Flow maps: imported, kept as datasets, shown, and split by subject."""

from nas_mer.data.dataset import CHANNELS, CLASSES, DATABASES, Dataset, Sample
from nas_mer.data.importing import canonical_subject, import_maps, read_ground_truth
from nas_mer.data.montage import montage, montage_figure
from nas_mer.data.splits import Fold, bilevel_halves, loso_folds, subject_parts
from nas_mer.data.synthetic import synth

__all__ = [
    "CHANNELS",
    "CLASSES",
    "DATABASES",
    "Dataset",
    "Fold",
    "Sample",
    "bilevel_halves",
    "canonical_subject",
    "import_maps",
    "loso_folds",
    "montage",
    "montage_figure",
    "read_ground_truth",
    "subject_parts",
    "synth",
]
