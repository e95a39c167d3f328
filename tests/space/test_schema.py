import json

import pytest
from jsonschema import Draft202012Validator

from nas_mer.errors import UserError
from nas_mer.placed_yaml import parse_yaml
from nas_mer.space import OPS, SearchSpace, json_schema, shipped_spaces, syntax

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
TEXTS = {name: file.read_text(encoding="utf-8") for name, file in shipped_spaces().items()}


def problems(text):
    return [error.message for error in VALIDATOR.iter_errors(parse_yaml(text, "space.yaml").value)]


def test_it_is_a_schema_and_plain_data():
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("name", TEXTS)
def test_shipped_spaces_fit(name):
    assert problems(TEXTS[name]) == []


def test_every_key_of_the_reader_is_described():
    definitions = SCHEMA["$defs"]
    tables = {
        syntax.TOP_KEYS: SCHEMA,
        syntax.INPUT_KEYS: SCHEMA["properties"]["input"],
        syntax.HEAD_KEYS: SCHEMA["properties"]["head"],
        syntax.ATTENTION_KEYS: SCHEMA["properties"]["attention"],
        syntax.STATE_KEYS: definitions["state"],
        syntax.USE_KEYS: definitions["use"],
        syntax.BLOCK_KEYS: definitions["block"],
        (*syntax.BOUNDS, "of", "forbid"): definitions["constraint"],
    }
    for keys, table in tables.items():
        assert set(table["properties"]) == set(keys)
        assert all(part.get("description") or part.get("const") for part in table["properties"].values()), keys


def test_every_op_is_described_with_its_arguments():
    for name, kind in OPS.items():
        op = SCHEMA["$defs"][f"op.{name}"]
        assert op["description"] == kind.summary != ""
        assert set(op["properties"]) == {"op", "share", *kind.types}
        defaults = {key: part["default"] for key, part in op["properties"].items() if "default" in part}
        assert defaults == {key: value for key, value in kind.defaults.items() if value is not None}


ACCEPTED = {
    "a size by reference": ("rcn", "kernel: 2}", "kernel: $pool}"),
    "a multiple of a size": ("rcn", "kernel: 2}", "kernel: $pool*2}"),
    "a pool by reference": ("rcn", "pool: $pool", "pool: $pool * 2"),
    "no hops": ("rcn", "none: []", "none:"),
    "several hops": ("rcn", "input -> conv", "[input -> conv, input -> r0]"),
    "one input in a list": ("rcn", "r3: {from: in3,", "r3: {from: [in3],"),
    "an input through a module": ("rcn", "in1: {from: [conv, r0]}", "in1: {from: [conv, {r0: [relu, skip]}]}"),
    "a state of a block": ("nasbench201", "last: {from: stage3,", "last: {from: [stage3, stage3.1],"),
    "decisions of its own": ("nasbench201", "from: half, repeat", "decisions: own, from: half, repeat"),
    "one constraint": ("rcn_hops", "head:", "constraints: {forbid: {conv.hop: hop1, r0.hop: [hop1, hop2]}}\nhead:"),
    "two bounds": ("rcn_hops", "head:", "constraints: [{at_least: 1, at_most: 1, of: {r0.hop: hop1}}]\nhead:"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_reader_takes_fits(name, old, new):
    assert TEXTS[name].count(old) == 1
    text = TEXTS[name].replace(old, new)
    SearchSpace.parse(text)
    assert problems(text) == []


REFUSED = {
    "unknown key": ("rcn", "title:", "titel:"),
    "missing key": ("rcn", "version: 1", ""),
    "version": ("rcn", "version: 1", "version: 2"),
    "name": ("rcn", "name: rcn", "name: r c n"),
    "input": ("rcn", "size: 60", "size: large"),
    "parameter": ("rcn", "pool: 5,", "pool: five,"),
    "parameter name": ("rcn", "pool: 5,", "pool: 5, a-b: 1,"),
    "parameter size": ("rcn", "pool: 5,", "pool: 5, size: 1,"),
    "state key": ("rcn", "r0: {from:", "r0: {inputs:"),
    "state without inputs": ("rcn", "r0: {from: conv, module", "r0: {module"),
    "state name": ("rcn", "  pooled: {", "  the pooled: {"),
    "no inputs": ("rcn", "in1: {from: [conv, r0]}", "in1: {from: []}"),
    "two inputs in one": ("rcn", "in1: {from: [conv, r0]}", "in1: {from: [{conv: relu, r0: relu}]}"),
    "choice in a list": ("rcn", "in1: {from: [conv, r0]}", "in1: {from: [{choose: {a: conv}}]}"),
    "no options": ("rcn", "choose: {plain: [conv, r1], shortcut: [in1, r1]}", "choose: {}"),
    "choice key": ("rcn", "in2: {from: {decision:", "in2: {from: {named:"),
    "combine": ("darts_cnn", "n2: {keep: 2, from: [{c0: edge}", "n2: {combine: add, from: [{c0: edge}"),
    "keep": ("darts_cnn", "n2: {keep: 2, from: [{c0: edge}", "n2: {keep: 0, from: [{c0: edge}"),
    "op": ("rcn", "{op: max_pool, kernel: 2}", "{op: maxpool, kernel: 2}"),
    "argument": ("rcn", "{op: max_pool, kernel: 2}", "{op: max_pool, kernl: 2}"),
    "argument type": ("rcn", "{op: max_pool, kernel: 2}", "{op: max_pool, kernel: wide}"),
    "argument range": ("rcn", "{op: max_pool, kernel: 2}", "{op: max_pool, kernel: 0}"),
    "argument odd": ("rcn", "{op: conv, kernel: 1}", "{op: conv, kernel: 2}"),
    "argument in a list": ("rcn", "dilations: [1, 2, 3]", "dilations: [1, 2, x]"),
    "argument missing": ("rcn", "{op: max_pool, kernel: 2}", "project"),
    "reference": ("rcn", "pool: $pool", "pool: $pool + 1"),
    "share": ("rcn", "share: recurrent", "share: 3"),
    "block key": ("nasbench201", "inputs: n0", "input: n0"),
    "use key": ("nasbench201", "from: stem, repeat:", "from: stem, times:"),
    "use without inputs": ("nasbench201", "stage1: {block: cell, from: stem, ", "stage1: {block: cell, "),
    "use with both": ("nasbench201", "stage2: {block: cell, ", "stage2: {block: cell, after: half, "),
    "decisions": ("nasbench201", "stage2: {block: cell, ", "stage2: {block: cell, decisions: mine, "),
    "with": ("nasbench201", "with: {channels: $channels * 2}", "with: {channels: wide}"),
    "block in a block": ("nasbench201", "n1: {from: [{n0: edge}]}", "n1: {block: residual, from: n0}"),
    "hop": ("rcn", "conv -> pooled", "conv to pooled"),
    "hop unit": ("rcn", "unit: class_activation", "unit: squeeze"),
    "hops without options": ("rcn_hops", "conv.hop: {none: [], hop1: input -> conv}", "conv.hop: {}"),
    "head": ("rcn", "head: {from: pooled, pool: $pool}", "head: pooled"),
    "pool": ("rcn", "pool: $pool", "pool: 0"),
    "constraint": ("rcn_hops", "head:", "constraints: {of: {conv.hop: hop1}}\nhead:"),
    "constraint bounds": ("rcn_hops", "head:", "constraints: {at_most: 1, exactly: 1, of: {conv.hop: hop1}}\nhead:"),
    "constraint of nothing": ("rcn_hops", "head:", "constraints: {at_most: 1, of: {}}\nhead:"),
    "genotype": ("rcn", "{conv: wide, recurrent: plain, attention: none}", "[wide, plain, none]"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), REFUSED.values(), ids=REFUSED)
def test_what_the_schema_refuses_the_reader_refuses(name, old, new):
    assert TEXTS[name].count(old) == 1
    text = TEXTS[name].replace(old, new)
    assert problems(text)
    with pytest.raises(UserError):
        SearchSpace.parse(text)
