import json
import random

import pytest
import yaml

from nas_mer.errors import UserError
from nas_mer.space import SearchSpace

SPACE = """\
version: 1
name: tiny
input: {channels: 3, size: 8}
parameters: {maps: 4, rate: 0.5, times: 2}
modules:
  body: [{op: conv, channels: $maps, share: body}, batch_norm, relu]
  edge: {choose: {none: none, skip: skip, conv: conv}}
  pooling: {decision: pool, choose: {soft: {op: avg_pool, kernel: 1}, hard: {op: max_pool, kernel: 1}}}
blocks:
  cell:
    inputs: [a, b]
    parameters: width
    output: out
    states:
      mid: {from: a, module: {op: conv, channels: $width}}
      out: {keep: 1, from: [{mid: edge}, {b: edge}]}
states:
  stem: {from: input, module: body}
  left: {from: stem, module: pooling}
  right: {from: stem, module: pooling}
  deep: {from: {choose: {plain: stem, sum: [stem, left]}}, module: {op: dropout, p: $rate}}
  cells: {block: cell, from: [deep, stem], repeat: $times, with: {width: $maps}}
  more: {block: cell, after: cells, with: {width: $maps * 1}}
  out: {combine: concat, from: [more, {right: relu}]}
attention:
  hops:
    hop: {none: [], one: input -> stem, two: [stem -> deep, deep -> more]}
head: {from: out, pool: 2}
constraints:
  - {at_most: 1, of: {pool: soft, hop: [one, two]}}
genotypes:
  first: {pool: soft, deep.from: plain, hop: none, cell.out.b: conv}
"""


def test_a_space_is_read():
    space = SearchSpace.parse(SPACE)
    assert space.decisions == {
        "hop": ("none", "one", "two"),
        "pool": ("hard", "soft"),
        "deep.from": ("plain", "sum"),
        "cell.out.b": ("conv", "none", "skip"),
        "cell.out.mid": ("conv", "none", "skip"),
    }
    # One of two edges is kept, with one of two ops; pool and hop do not both match.
    assert space.size == (2 * 2) * 2 * (3 * 2 - 2)
    assert space.genotype("first").choices["cell.out.mid"] == "none"
    states = {state.name: state for state in space.graph.states}
    assert {name for name in states if name.startswith(("cells", "more"))} == {
        "cells.1.mid", "cells.1", "cells.2.mid", "cells", "more.mid", "more",
    }  # fmt: skip
    assert [(r.use, dict(r.inputs)) for r in space.graph.repetitions] == [
        ("cells", {"a": "deep", "b": "stem"}),
        ("cells", {"a": "stem", "b": "cells.1"}),
        ("more", {"a": "cells.1", "b": "cells"}),
    ]
    assert space.graph.shapes["out"] == (8, 8, 8)


# What stands in SPACE, what is put in its place, and line, key path and message of the error.
# fmt: off
BROKEN = {
    "unknown key": ("head:", "heads:", "28: heads: unknown key 'heads'; did you mean 'head'?"),
    "missing key": ("head: {from: out, pool: 2}", "title: x", "1: the key 'head' is missing"),
    "unknown key of a state": ("left: {from: stem,", "left: {form: stem,",
        "19: states.left.form: unknown key 'form'; did you mean 'from'?"),
    "duplicate key": ("  right: {", "  left: {", "20: states.left: duplicate key 'left', on line 19 already"),
    "version": ("version: 1", "version: 2", "1: version: this toolkit reads version 1, found 2"),
    "name": ("name: tiny", "name: tiny space",
        "2: name: a name is made of letters, digits, '_', '-' and '+', found 'tiny space'"),
    "title": ("name: tiny", "name: tiny\ntitle: [a]", "3: title: must be text, found a list of 1"),
    "input size": ("size: 8}", "size: 8.5}", "3: input.size: must be a whole number of at least 1, found 8.5"),
    "input channels": ("channels: 3,", "channels: 0,",
        "3: input.channels: must be a whole number of at least 1, found 0"),
    "parameter text": ("maps: 4", "maps: four",
        "4: parameters.maps: a parameter is a number, true or false, found 'four'"),
    "parameter name": ("{maps: 4", "{my-maps: 4",
        "4: parameters.my-maps: a name is made of letters, digits and '_', no digit first, found 'my-maps'"),
    "parameter size": ("{maps: 4", "{size: 4",
        "4: parameters.size: 'size' is the side of the input; take another name"),
    "parameter unused": ("times: 2}", "times: 2, unused: 3}",
        "4: parameters.unused: nothing uses the parameter 'unused'"),
    "parameter that a block's hides": ("times: 2}", "times: 2, width: 3}",
        "4: parameters.width: nothing uses the parameter 'width'; in a block that has a parameter of that name, "
        "the block's own is meant"),
    "module unused": ("blocks:", "  other: relu\nblocks:", "9: modules.other: nothing uses the module 'other'"),
    "block unused": ("states:\n  stem", "  other: {inputs: a, output: b, states: {}}\nstates:\n  stem",
        "17: blocks.other: nothing uses the block 'other'"),
    "module named as an op": ("  body: [", "  relu: [", "6: modules.relu: 'relu' is an op already; take another name"),
    "unknown op": ("{op: dropout, p: $rate}", "{op: droput, p: $rate}",
        "21: states.deep.module: no op or module is called 'droput'; did you mean 'dropout'?"),
    "unknown module": ("{from: input, module: body}", "{from: input, module: bodi}",
        "18: states.stem.module: no op or module is called 'bodi'; did you mean 'body'?"),
    "no op": ("{op: dropout, p: $rate}", "{p: $rate}",
        "21: states.deep.module: a module is an op's name, '{op: name, ...}', a list of these or '{choose"),
    "misspelt argument": ("channels: $maps, share", "chanels: $maps, share",
        "6: modules.body[0].chanels: op 'conv' has no argument 'chanels'; did you mean 'channels'?"),
    "argument type": ("p: $rate", "p: high",
        "21: states.deep.module.p: op 'dropout': should be a valid number, found 'high'"),
    "argument range": ("p: $rate", "p: 1", "21: states.deep.module.p: op 'dropout': should be less than 1, found 1"),
    "argument whole": ("kernel: 1}, hard", "kernel: 1.5}, hard",
        "8: modules.pooling.choose.soft.kernel: op 'avg_pool': should be a valid integer, found 1.5"),
    "argument in a list": ("conv: conv}}", "conv: {op: conv, dilations: [1, 0]}}}",
        "7: modules.edge.choose.conv.dilations: op 'conv': should be greater than or equal to 1, found 0"),
    "argument odd": ("conv: conv}}", "conv: {op: conv, kernel: 2}}}",
        "7: modules.edge.choose.conv.kernel: op 'conv': must be odd, found 2"),
    "argument missing": ("conv: conv}}", "conv: project}}",
        "7: modules.edge.choose.conv: op 'project' needs the argument 'channels'"),
    "argument key": ("conv: conv}}", "conv: {op: conv, 3: 4}}}",
        "7: modules.edge.choose.conv: the key 3 is not text; write it in quotes"),
    "share": ("share: body", "share: [body]",
        "6: modules.body[0].share: must be the name of a set of weights, found a list of 1"),
    "module with arguments": ("module: body}", "module: {op: body, channels: 3}}",
        "18: states.stem.module: 'body' is a module of this file; write its name alone, it takes no arguments"),
    "module circle": ("body: [", "body: [body, ",
        "6: modules.body[0]: the modules body -> body contain each other in a circle"),
    "choice in a list": ("module: body}", "module: [relu, edge]}",
        "7: modules.edge: a choice stands for a whole module; it cannot be one of several ops or lie in another"),
    "choice without options": ("choose: {plain: stem, sum: [stem, left]}", "choose: {}",
        "21: states.deep.from.choose: a choice needs at least one option"),
    "choice of inputs in a list": ("from: {choose: {plain: stem, sum: [stem, left]}}", "from: [{choose: {a: stem}}]",
        "21: states.deep.from[0]: a choice of inputs stands for all inputs of a state: 'from: {choose: {option"),
    "option name": ("{plain: stem, sum", "{plain one: stem, sum",
        "21: states.deep.from.choose.plain one: a name is made of letters, digits, '_', '-' and '+', found"),
    "shared decision": ("right: {from: stem, module: pooling}",
        "right: {from: stem, module: {decision: pool, choose: {soft: relu}}}",
        "20: states.right.module.choose: decision 'pool' has the options hard, soft elsewhere, but soft here"),
    "bad reference": ("$times", "$ times",
        "22: states.cells.repeat: must read '$name' or '$name * 2', found '$ times'"),
    "unknown parameter": ("$times", "$time",
        "22: states.cells.repeat: no parameter is called 'time'; did you mean 'times'?"),
    "repeat": ("$times", "$rate", "22: states.cells.repeat: must be a whole number of at least 1, found 0.5"),
    "dangling input": ("right: {from: stem", "right: {from: steam",
        "20: states.right.from: no state is called 'steam'; did you mean 'stem'?"),
    "input twice": ("sum: [stem, left]", "sum: [stem, stem]",
        "21: states.deep.from.choose.sum[1]: 'stem' is an input of this state already"),
    "no inputs": ("sum: [stem, left]", "sum: []", "21: states.deep.from.choose.sum: a state needs at least one input"),
    "two in one": ("[more, {right: relu}]", "[{more: relu, right: relu}]",
        "24: states.out.from[0]: an input is the name of a state, or one '{state"),
    "combine": ("combine: concat", "combine: multiply",
        "24: states.out.combine: must be sum or concat, found 'multiply'"),
    "cycle": ("left: {from: stem", "left: {from: deep",
        "19: states.left: the states deep -> left -> deep read each other in a circle"),
    "leads nowhere": ("[more, {right: relu}]", "[more]",
        "20: states.right: the state 'right' leads nowhere: no way from it reaches the head ('out')"),
    "shape choice": ("hard: {op: max_pool, kernel: 1}", "hard: {op: max_pool, kernel: 2}",
        "19: states.left: maps of different shapes are chosen between: hard 4x4x4, soft 4x8x8"),
    "shape sum": ("left: {from: stem, module: pooling}", "left: {from: stem, module: max_pool}",
        "21: states.deep: maps of different shapes are summed: left 4x4x4, stem 4x8x8"),
    "shape concat": ("{right: relu}]", "{right: max_pool}]",
        "24: states.out: maps of different shapes are concatenated: more 4x8x8, right 4x4x4"),
    "shape block": ("width: $maps}", "width: 5}",
        "16: blocks.cell.states.out: as 'cells.1': maps of different shapes are summed: b 4x8x8, mid 5x8x8"),
    "shape op": ("{right: relu}]", "{right: {op: max_pool, kernel: 9}}]",
        "24: states.out: max_pool(kernel=9) does not fit a map of 4x8x8"),
    "share mismatch": ("{right: relu}]", "{right: {op: conv, kernel: 5, share: body}}]",
        "17: states: 'body' names weights of shapes ((4, 3, 3, 3), (4,)) in stem (plain), but of ((4, 4, 5, 5)"),
    "keep without none": ("none: none, skip", "zero: relu, skip",
        "16: blocks.cell.states.out.keep: the edge from 'b' needs exactly one option whose module is the op 'none' (a"),
    "keep too many": ("keep: 1", "keep: 3",
        "16: blocks.cell.states.out.keep: cannot keep 3 of 2 edges that have a choice"),
    "keep shared": ("edge: {choose", "edge: {decision: edge, choose",
        "16: blocks.cell.states.out.keep: the edges of a state with 'keep' cannot share a decision"),
    "keep of a choice": ("deep: {", "deep: {keep: 1, ",
        "21: states.deep.keep: 'keep' needs one list of inputs, not a choice of lists"),
    "unknown block": ("more: {block: cell", "more: {block: cel",
        "23: states.more.block: no block is called 'cel'; did you mean 'cell'?"),
    "block inputs": ("from: [deep, stem]", "from: deep", "22: states.cells: block 'cell' has 2 inputs, found 1"),
    "neither from nor after": ("more: {block: cell, after: cells,", "more: {block: cell,",
        "23: states.more: a block in use needs either 'from' (its inputs) or 'after' (the block that it follows)"),
    "after no block": ("after: cells", "after: deep",
        "23: states.more.after: no block in use is called 'deep'; known: cells, more"),
    "after itself": ("after: cells", "after: more",
        "23: states.more: the blocks more -> more follow each other in a circle"),
    "block parameter": ("with: {width: $maps}", "with: {widht: $maps}",
        "22: states.cells.with.widht: block 'cell' has no parameter 'widht'; did you mean 'width'?"),
    "block parameter missing": (", with: {width: $maps * 1}", "",
        "23: states.more: block 'cell' needs 'with: {width: ...}'"),
    "block parameter text": ("{width: $maps * 1}", "{width: wide}",
        "23: states.more.with.width: a parameter is a number, true or false, found 'wide'"),
    "block decisions": ("after: cells", "decisions: mine, after: cells",
        "23: states.more.decisions: must be shared or own, found 'mine'"),
    "block output": ("output: out", "output: end",
        "13: blocks.cell.output: the block has no state 'end'; known: mid, out"),
    "block state": ("mid: {from: a", "mid: {from: stem",
        "15: blocks.cell.states.mid.from: the block has no state or input 'stem'; known: a, b, mid, out"),
    "block input names": ("inputs: [a, b]", "inputs: [a, a]",
        "11: blocks.cell.inputs: two inputs of the block have the same name"),
    "block no inputs": ("inputs: [a, b]", "inputs: []", "11: blocks.cell.inputs: a block needs at least one input"),
    "block in a block": ("mid: {from: a, module: {op: conv, channels: $width}}", "mid: {block: cell}",
        "15: blocks.cell.states.mid: a block's states cannot use blocks; use the block at the top"),
    "hop text": ("input -> stem", "input to stem",
        "27: attention.hops.hop.one: a hop is written 'source -> target', found 'input to stem'"),
    "hop to input": ("input -> stem", "stem -> input", "27: attention.hops.hop.one: a hop cannot lead to the input"),
    "hop of unknown": ("input -> stem", "inputs -> stem",
        "27: attention.hops.hop.one: no state is called 'inputs'; did you mean 'input'?"),
    "hop back": ("input -> stem", "deep -> stem",
        "21: states.deep: the states stem -> left -> deep -> stem read each other in a circle"),
    "hop decision": ("    hop: {", "    pool: {",
        "27: attention.hops.pool: decision 'pool' is made elsewhere already; hops need one of their own"),
    "hop unit": ("attention:", "attention:\n  unit: activation",
        "26: attention.unit: must be one of class_activation, found 'activation'"),
    "head": ("head: {from: out", "head: {from: outs", "28: head.from: no state is called 'outs'; did you mean 'out'?"),
    "pool": ("pool: 2}", "pool: 0}", "28: head.pool: must be a whole number of at least 1, found 0"),
    "constraint form": ("at_most: 1, of:", "at_most: 1, exactly: 1, of:",
        "30: constraints[0]: a constraint is {at_most: n, of: {decision: option}}, the same with at_least or exactly"),
    "constraint decision": ("of: {pool: soft", "of: {pol: soft",
        "30: constraints[0].of.pol: no decision is called 'pol'; did you mean 'pool'?"),
    "constraint option": ("of: {pool: soft", "of: {pool: sofd",
        "30: constraints[0].of.pool: decision 'pool' has no option 'sofd'; did you mean 'soft'?"),
    "constraint impossible": ("at_most: 1", "at_least: 3",
        "30: constraints[0]: cannot hold: at least 3 and at most 2 of 2 decisions"),
    "constraints unsatisfiable": ("  - {at_most: 1, of: {pool: soft, hop: [one, two]}}",
        "  - {exactly: 0, of: {pool: soft}}\n  - {exactly: 0, of: {pool: hard}}",
        "29: constraints: no genotype keeps all constraints of the space"),
    "genotype decision": ("first: {pool", "first: {pol",
        "32: genotypes.first.pol: no decision is called 'pol'; did you mean 'pool'?"),
    "genotype option": ("first: {pool: soft", "first: {pool: sofd",
        "32: genotypes.first.pool: decision 'pool' has no option 'sofd'; did you mean 'soft'?"),
    "genotype incomplete": ("first: {pool: soft, ", "first: {",
        "32: genotypes.first: the decision 'pool' is missing; its options: hard, soft"),
    "genotype broken": ("cell.out.b: conv}", "cell.out.b: conv, cell.out.mid: skip}",
        "32: genotypes.first: breaks the constraint exactly 1 of the edges cell.out.b, cell.out.mid"),
    "genotype name": ("  first:", "  the first:",
        "32: genotypes.the first: a name is made of letters, digits, '_', '-' and '+', found 'the first'"),
    "not YAML": ("name: tiny", "name: [tiny", "3: not valid YAML"),
}
# fmt: on


@pytest.mark.parametrize(("old", "new", "message"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_named_with_its_place(old, new, message):
    assert SPACE.count(old) == 1
    with pytest.raises(UserError) as caught:
        SearchSpace.parse(SPACE.replace(old, new), "space.yaml")
    assert str(caught.value).startswith(f"space.yaml:{message}")


def test_a_file_that_is_empty_or_no_mapping_is_refused():
    for text in ("", "- 1", "just text"):
        with pytest.raises(UserError, match="must be a mapping"):
            SearchSpace.parse(text, "space.yaml")


def test_words_and_numbers_are_read_as_yaml_1_2_does():
    text = """\
version: 1
name: no
input: {channels: 1, size: 4}
states:
  a: {from: input, module: {choose: {no: relu, yes: {op: dropout, p: 1e-3}, on: skip}}}
head: {from: a, pool: 1}
"""
    space = SearchSpace.parse(text)
    assert space.name == "no"
    assert space.decisions == {"a": ("no", "on", "yes")}
    (op,) = space.graph.states[0].module.options["yes"]
    assert dict(op.args) == {"p": 0.001}


def test_a_block_may_have_one_state_as_two_inputs():
    text = """\
version: 1
name: twice
input: {channels: 2, size: 4}
modules:
  edge: {choose: {none: none, skip: skip}}
blocks:
  cell:
    inputs: [before, last]
    output: out
    states:
      sum: {from: [{before: edge}, {last: edge}]}
      out: {combine: concat, from: [before, last, sum]}
states:
  cells: {block: cell, from: [input, input]}
head: {from: cells, pool: 1}
"""
    space = SearchSpace.parse(text)
    assert space.decisions == {"cell.sum.before": ("none", "skip"), "cell.sum.last": ("none", "skip")}
    assert space.graph.shapes["cells"] == (6, 4, 4)


@pytest.mark.parametrize(("decisions", "size"), [("shared", 2), ("own", 2**3)])
def test_repetitions_choose_alike_or_each_for_itself(decisions, size):
    text = f"""\
version: 1
name: repeated
input: {{channels: 1, size: 4}}
parameters: {{times: 3}}
blocks:
  cell: {{inputs: x, output: y, states: {{y: {{from: x, module: {{choose: {{a: relu, b: skip}}}}}}}}}}
states:
  cells: {{block: cell, from: input, repeat: $times, decisions: {decisions}}}
head: {{from: cells, pool: 1}}
"""
    assert SearchSpace.parse(text).size == size


NAMED_ALIKE = """\
version: 1
name: alike
input: {channels: 2, size: 4}
modules:
  edge: {choose: {none: none, skip: skip}}
blocks:
  cell: {inputs: x, output: y, states: {out: {from: x, module: edge}, y: {from: out, module: edge}}}
states:
  out: {from: input}
  left: {block: cell, from: out}
  right: {block: cell, from: left}
head: {from: right, pool: 1}
"""


def test_a_use_that_shares_its_decisions_may_be_called_like_its_block():
    alike = SearchSpace.parse(NAMED_ALIKE.replace("left", "cell"))
    assert alike.decisions == SearchSpace.parse(NAMED_ALIKE).decisions
    own = SearchSpace.parse(NAMED_ALIKE.replace("left: {", "left: {decisions: own, "))
    assert own.decisions.keys() == {"left.out", "left.y", "cell.out", "cell.y"}


@pytest.mark.parametrize(
    ("old", "new", "owners"),
    [
        ("  left: {block: cell", "  cell: {decisions: own, block: cell", "the use 'cell' and that of the block 'cell'"),
        ("  left: {block: cell, from: out}", "  cell: {from: [{out: edge}]}", "a state and that of the block 'cell'"),
    ],
    ids=["a use that decides for itself", "a state"],
)
def test_what_is_called_alike_does_not_choose_alike(old, new, owners):
    text = NAMED_ALIKE.replace(old, new).replace("from: left", "from: cell")
    with pytest.raises(UserError) as caught:
        SearchSpace.parse(text, "space.yaml")
    place = "space.yaml:7: blocks.cell.states.out.module"
    assert str(caught.value) == (
        f"{place}: decision 'cell.out' would be that of {owners}; give one of them another name"
    )


# --- nothing depends on the order in the file -------------------------------------------------------------------------


def shuffled(value, rng, sets=False):
    """The same data with all mappings, and the lists of summed inputs, hops and constraints, in another order."""
    if isinstance(value, dict):
        keys = rng.sample(list(value), len(value))
        value = {key: shuffled(value[key], rng, sets or key in ("attention", "constraints")) for key in keys}
        if value.get("combine") != "concat" and "block" not in value and isinstance(value.get("from"), list):
            rng.shuffle(value["from"])
        return value
    if not isinstance(value, list):
        return value
    parts = [shuffled(part, rng, sets) for part in value]
    return rng.sample(parts, len(parts)) if sets else parts


MANY_HOPS = """\
version: 1
name: many
input: {channels: 3, size: 8}
states:
  a1: {from: input, module: {op: conv, channels: 4}}
  a01: {from: input, module: {op: conv, channels: 4}}
  a10: {from: [a1, a01, {input: {op: conv, channels: 4}}], module: conv}
attention:
  hops:
    second: {none: [], one: input -> a10}
    first: {none: [], one: a1 -> a10, two: [a01 -> a10, a1 -> a10]}
    third: {one: a01 -> a10, none: []}
head: {from: a10, pool: 2}
constraints:
  - {at_least: 1, of: {first: [one, two], second: one}}
  - {forbid: {first: two, third: one}}
"""
TEXTS = {"tiny": SPACE, "many": MANY_HOPS} | {
    name: SearchSpace.load(name).source for name in ("rcn", "rcn_hops", "rcn_placements", "nasbench201", "darts_cnn")
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_order_in_the_file_changes_nothing(name):
    space = SearchSpace.parse(TEXTS[name])
    rng = random.Random(name)
    for _ in range(3):
        other = SearchSpace.parse(json.dumps(shuffled(yaml.safe_load(TEXTS[name]), rng)))
        assert other.hash == space.hash
        assert list(other.decisions.items()) == list(space.decisions.items())
        assert repr(other.graph) == repr(space.graph)  # also the order of everything in it
        assert len(other.rules) == len(space.rules)
        assert all(rule in space.rules for rule in other.rules)
        assert other.sample(random.Random(0)) == space.sample(random.Random(0))
        assert other.named == space.named


def changed(text, *path, to):
    value = yaml.safe_load(text)
    part = value
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = to
    return SearchSpace.parse(json.dumps(value))


def test_names_and_sizes_do_not_count_for_the_hash():
    space = SearchSpace.parse(SPACE)
    assert changed(SPACE, "name", to="other").hash == space.hash
    assert changed(SPACE, "title", to="other").hash == space.hash
    assert changed(SPACE, "parameters", "maps", to=7).hash == space.hash
    assert changed(SPACE, "input", "size", to=32).hash == space.hash
    assert changed(SPACE, "genotypes", to={}).hash == space.hash
    assert SearchSpace.parse(SPACE, maps=8, size=16, times=3).hash == space.hash


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("input", "channels"), 2),
        (("modules", "edge", "choose", "conv"), "sep_conv"),
        (("modules", "body", 0, "kernel"), 5),
        (("blocks", "cell", "states", "out", "keep"), 2),
        (("states", "deep", "from", "choose", "sum"), "left"),
        (("states", "cells", "from"), ["stem", "deep"]),
        (("states", "out", "from"), [{"right": "relu"}, "more"]),  # the order of a concatenation
        (("attention", "hops", "hop", "one"), "input -> deep"),
        (("constraints",), []),
        (("head", "pool"), 1),
    ],
)
def test_what_a_genotype_means_counts_for_the_hash(path, to):
    text = SPACE.replace(", cell.out.b: conv}", ", cell.out.b: conv, cell.out.mid: conv}") if "keep" in path else SPACE
    assert changed(text, *path, to=to).hash != SearchSpace.parse(SPACE).hash
