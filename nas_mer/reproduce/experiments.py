"""The experiments of the paper, each a table or figure: what varies down, across and between its parts.

A level of a factor says which fields of an entry it sets. Fields of `Setting` are what a network is trained at, `data`
and `measure` are what is read off it once it is trained.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from nas_mer.score.published import COMPOSITE

Fields = Mapping[str, Any]
Labels = tuple[str, str, str]
"""The levels of an entry: of the section, the row and the column."""


@dataclass(frozen=True)
class Setting:
    """What a network is trained at.

    Attributes:
        method: the paper's name of it.
        genotype: its name in this toolkit, that of a genotype or of a handcrafted descriptor.
        size: height and width of the flow maps in pixels; None leaves the network its own.
        feature_maps: of each convolution; None likewise.
        pool: the side to which the last maps are pooled; None likewise.
        databases: what the composite consists of; None for all that there are.
        magnified: whether motion is magnified.
    """

    method: str
    genotype: str
    size: int | None = None
    feature_maps: int | None = None
    pool: int | None = None
    databases: tuple[str, ...] | None = None
    magnified: bool = False

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters of the space that it sets."""
        sizes = {"size": self.size, "feature_maps": self.feature_maps, "pool": self.pool}
        return {name: value for name, value in sizes.items() if value is not None}

    @property
    def name(self) -> str:
        """What its run is called, such as `rcn-f-s60-m16-k5`."""
        short = {"size": "s", "feature_maps": "m", "pool": "k"}
        parts = [self.genotype]
        parts += [f"{short[name]}{value}" for name, value in self.parameters.items()]
        parts += self.databases or ()
        return "-".join([*parts, *(["magnified"] if self.magnified else [])])


@dataclass(frozen=True)
class Factor:
    """Something that an experiment varies.

    Attributes:
        name: what it is; empty for one that does not vary.
        levels: the fields that each level sets, by its label.
    """

    name: str
    levels: Mapping[str, Fields]

    @property
    def trained(self) -> bool:
        """Whether its levels are networks of their own, and not readings of the same one."""
        return all(level.keys() <= _TRAINED for level in self.levels.values())

    def only(self, labels: Sequence[str]) -> Factor:
        """Return the factor with these of its levels."""
        return replace(self, levels={label: self.levels[label] for label in labels})


_TRAINED = {part.name for part in fields(Setting)}


def _setting(values: Fields) -> Setting:
    return Setting(**{name: value for name, value in values.items() if name in _TRAINED})


_ONE = Factor("", {"": {}})


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper.

    Attributes:
        source: its number in the paper, such as `Table II`.
        title: what it is of.
        rows: what varies down a table and along the horizontal axis of a figure.
        columns: what varies across a table and from curve to curve of a figure.
        sections: what varies between the parts of a table and the panels of a figure.
        common: the fields that all entries share.
        quick: by factor the levels that a quick reproduction keeps.
        remark: what the paper leaves open, and how it is read here.
        is_figure: whether the paper draws it.
    """

    source: str
    title: str
    rows: Factor
    columns: Factor
    sections: Factor = _ONE
    common: Fields = field(default_factory=dict)
    quick: Mapping[str, Sequence[str]] = field(default_factory=dict)
    remark: str = ""
    is_figure: bool = False

    @property
    def factors(self) -> tuple[Factor, Factor, Factor]:
        """Sections, rows and columns."""
        return self.sections, self.rows, self.columns

    @property
    def grid(self) -> dict[str, list[str]]:
        """The labels of each factor whose levels are trained: their product is what there is to train."""
        return {factor.name: list(factor.levels) for factor in self.factors if factor.name and factor.trained}

    @property
    def is_timed(self) -> bool:
        """Whether it measures hours instead of scores."""
        return self.common.get("measure") == "hours"

    def entries(self) -> Iterator[tuple[Labels, Setting, str, str]]:
        """Iterate over the entries: labels, what is trained, the data and the measure to be read off."""
        sections, rows, columns = self.factors
        for labels in itertools.product(sections.levels, rows.levels, columns.levels):
            values = {"data": COMPOSITE, "measure": "uar", **self._fields(labels)}
            yield labels, _setting(values), values["data"], values["measure"]

    def setting(self, chosen: Mapping[str, str]) -> Setting:
        """Return what one point of the grid trains: by factor the label of its level."""
        labels = [chosen.get(factor.name, next(iter(factor.levels))) for factor in self.factors]
        return _setting(self._fields(labels))

    def quickly(self) -> Experiment:
        """Return the part of the experiment that is quick."""
        sections, rows, columns = (
            factor.only(self.quick.get(factor.name, [*factor.levels])) for factor in self.factors
        )
        return replace(self, sections=sections, rows=rows, columns=columns)

    def _fields(self, labels: Sequence[str]) -> dict[str, Any]:
        merged = dict(self.common)
        for factor, label in zip(self.factors, labels, strict=True):
            merged |= factor.levels[label]
        return merged


def _each(name: str, key: str, values: Sequence[int]) -> Factor:
    """Return a factor whose levels are numbers."""
    return Factor(name, {str(value): {key: value} for value in values})


def _networks(*methods: str, **common: object) -> Factor:
    """Return a factor of the paper's own networks."""
    return Factor("model", {method: {"method": method, "genotype": method.lower(), **common} for method in methods})


_BASIC = Setting("RCN", "rcn", size=60, feature_maps=16, pool=5).parameters  # section V-C
_SIZES = (20, 40, 60, 80, 100, 150, 200, 250, 300)  # section III
_FOUR = ("RCN", "RCN-A", "RCN-S", "RCN-W")
_FIVE = (*_FOUR, "RCN-F")
_PAIRS = {
    "SMIC, CASME II": {"databases": ("smic", "casme2")},
    "CASME II, SAMM": {"databases": ("casme2", "samm")},
    "SMIC, SAMM": {"databases": ("smic", "samm")},
}
_OWN_AXIS = "The paper's text does not name the values of its axis; these are ours."

EXPERIMENTS: Mapping[str, Experiment] = {
    "table2": Experiment(
        source="Table II",
        title="UAR of the three modules, alone and combined",
        sections=_each("pooling", "pool", (5, 7)),
        rows=_networks(*_FOUR, "RCN-P", "RCN-C", "RCN-F"),
        columns=_each("feature maps", "feature_maps", (16, 32, 64)),
        common={"size": 60},
        quick={"model": ("RCN", "RCN-F"), "feature maps": ("16",)},
    ),
    "table3": Experiment(
        source="Table III",
        title="UAR with and without motion magnification",
        sections=_each("resolution", "size", (60, 100)),
        rows=_networks(*_FIVE),
        columns=Factor("motion", {"as it is": {"magnified": False}, "magnified": {"magnified": True}}),
        common=_BASIC,
        quick={"model": ("RCN", "RCN-F"), "resolution": ("60",)},
        remark="The paper does not say how many times it magnified motion.",
    ),
    "table4": Experiment(
        source="Table IV",
        title="UAR on two of the three databases",
        sections=Factor(
            "sizes",
            {
                "16 maps, pooling 5": {"feature_maps": 16, "pool": 5},
                "64 maps, pooling 7": {"feature_maps": 64, "pool": 7},
            },
        ),
        rows=_networks(*_FIVE),
        columns=Factor("databases", _PAIRS),
        common={"size": 60},
        quick={"model": ("RCN", "RCN-F"), "sizes": ("16 maps, pooling 5",)},
    ),
    "table5": Experiment(
        source="Table V",
        title="UAR and UF1 beside other methods",
        sections=Factor("metric", {"UAR": {"measure": "uar"}, "UF1": {"measure": "uf1"}}),
        rows=Factor(
            "model",
            {
                "LBP-TOP": {"method": "LBP-TOP", "genotype": "lbp-top"},
                "Bi-WOOF": {"method": "Bi-WOOF", "genotype": "bi-woof"},
                "ResNet18": {"method": "ResNet18", "genotype": "resnet18"},
                "DenseNet121": {"method": "DenseNet121", "genotype": "densenet121"},
                "OFF-ApexNet": {"method": "OFF-ApexNet", "genotype": "off-apexnet"},
                "STSTNet": {"method": "STSTNet", "genotype": "ststnet"},
                "NMER": {"method": "NMER", "genotype": "nmer"},
                "Dual-Inception": {"method": "Dual-Inception", "genotype": "dual-inception"},
                "CapsuleNet": {"method": "CapsuleNet", "genotype": "capsulenet"},
                "DCN-DB": {"method": "DCN-DB", "genotype": "dcn-db"},
                # At the sizes that section V-D2 calls optimal.
                **_networks("RCN-A", size=60, feature_maps=64, pool=7).levels,
                **_networks("RCN-S", size=60, feature_maps=16, pool=5).levels,
                **_networks("RCN-W", size=60, feature_maps=32, pool=7).levels,
                **_networks("RCN-F", size=60, feature_maps=32, pool=5).levels,
            },
        ),
        columns=Factor(
            "data",
            {
                "composite": {"data": COMPOSITE},
                "SMIC": {"data": "smic"},
                "CASME II": {"data": "casme2"},
                "SAMM": {"data": "samm"},
            },
        ),
        quick={"model": ("Bi-WOOF", "STSTNet", "RCN-S")},
        remark="All networks are trained from scratch on flow maps with one recipe; the other methods' papers have "
        "recipes of their own. The handcrafted descriptors are classified once, for nothing about them is random.",
    ),
    "table6": Experiment(
        source="Table VI",
        title="Hours of training and test",
        sections=Factor(
            "sizes",
            {
                "16 maps, pooling 5": {"feature_maps": 16, "pool": 5},
                "64 maps, pooling 9": {"feature_maps": 64, "pool": 9},
            },
        ),
        rows=_networks(*_FIVE),
        columns=_each("resolution", "size", (60, 100, 200, 300)),
        common={"measure": "hours"},
        quick={"model": ("RCN", "RCN-F"), "sizes": ("16 maps, pooling 5",), "resolution": ("60", "100")},
        remark="The paper measured on Tesla K80 GPUs, and trained for up to 500 iterations.",
    ),
    "fig1": Experiment(
        source="Fig. 1",
        title="UAR by resolution of the flow maps and depth of the network",
        rows=_each("resolution", "size", _SIZES),
        columns=Factor(
            "model",
            {
                # Model 2 is the RCN (section IV-B), whose numbers stand in tables.
                "Model 1": {"method": "Model 1", "genotype": "model-1"},
                "Model 2": {"method": "RCN", "genotype": "model-2"},
                "Model 3": {"method": "Model 3", "genotype": "model-3"},
                "Model 4": {"method": "Model 4", "genotype": "model-4"},
            },
        ),
        common={"feature_maps": 16, "pool": 5},
        quick={"resolution": ("40", "60", "100"), "model": ("Model 1", "Model 2", "Model 4")},
        is_figure=True,
    ),
    "fig7": Experiment(
        source="Fig. 7",
        title="UAR by resolution of the flow maps",
        rows=_each("resolution", "size", _SIZES),
        columns=_networks(*_FOUR),
        common=_BASIC,
        quick={"resolution": ("40", "60", "100"), "model": ("RCN", "RCN-S")},
        remark="The resolutions are those that section III names.",
        is_figure=True,
    ),
    "fig8": Experiment(
        source="Fig. 8",
        title="UAR by pooling size",
        sections=_each("resolution", "size", (60, 100)),
        rows=_each("pooling", "pool", (1, 3, 5, 7, 9)),
        columns=_networks(*_FOUR),
        common=_BASIC,
        quick={"resolution": ("60",), "pooling": ("1", "5", "9"), "model": ("RCN", "RCN-S")},
        remark=_OWN_AXIS,
        is_figure=True,
    ),
    "fig9": Experiment(
        source="Fig. 9",
        title="UAR by number of feature maps",
        sections=_each("resolution", "size", (60, 100)),
        rows=_each("feature maps", "feature_maps", (8, 16, 32, 64, 128)),
        columns=_networks(*_FOUR),
        common=_BASIC,
        quick={"resolution": ("60",), "feature maps": ("8", "16", "32"), "model": ("RCN", "RCN-S")},
        remark=_OWN_AXIS,
        is_figure=True,
    ),
}
"""By the name that `nas-mer reproduce` takes."""
