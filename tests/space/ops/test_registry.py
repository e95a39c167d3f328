import pytest
from torch import nn

from nas_mer.errors import UserError
from nas_mer.space import OPS, Like, SearchSpace, Shape, json_schema, load_ops, op
from nas_mer.space.ops import OPS_FILES, Dropout


@pytest.fixture(autouse=True)
def registry():
    before, files = dict(OPS), list(OPS_FILES)
    yield
    OPS.clear()
    OPS.update(before)
    OPS_FILES[:] = files


def test_arguments_are_shown_as_python_writes_them():
    shown = {name: [kind.argument(argument) for argument in kind.types] for name, kind in OPS.items()}
    assert shown["conv"][:4] == [
        "channels: int | None = None",
        "kernel: int = 3",
        "stride: int = 1",
        "dilations: list[int] = [1]",
    ]
    assert shown["skip"] == ["stride: Literal[1, 2] = 1"]


SPACE = """\
version: 1
name: user
input: {channels: 3, size: 8}
states:
  stem: {from: input, module: {op: conv, channels: 4}}
  out: {from: stem, module: MODULE}
head: {from: out, pool: 2}
"""


def parse(module):
    return SearchSpace.parse(SPACE.replace("MODULE", module), "space.yaml")


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d, nn.AlphaDropout])
def test_an_op_with_dropout_draws_by_a_key(kind):
    """As torch's modules draw, a result would depend on what its process trains beside it."""

    @op(f"noisy{kind.__name__}")
    def noisy(shape: Shape, *, own: bool) -> nn.Module:
        return nn.Sequential(nn.ReLU(), Dropout(0.5) if own else kind(0.5))

    assert parse(f"{{op: noisy{kind.__name__}, own: true}}").size == 1
    message = rf"space\.yaml:6: states\.out: noisy.* has torch's {kind.__name__}, .* be nas_mer\.space\.ops\.Dropout$"
    with pytest.raises(UserError, match=message):
        parse(f"{{op: noisy{kind.__name__}, own: false}}")


def test_an_op_of_the_users_is_an_op_like_any_other():
    @op("sharpen")
    def sharpen(shape: Shape, *, amount: float, like: Like | None = None, times: int = 1) -> nn.Module:
        """Adds the difference to a blur."""
        assert like is None or isinstance(like, Shape)
        return nn.Conv2d(shape.channels, shape.channels, 3, stride=times, padding=1)

    kind = OPS["sharpen"]
    assert kind.summary == "Adds the difference to a blur."
    assert [kind.argument(name) for name in kind.types] == [
        "amount: float",
        "like: Like | None = None",
        "times: int = 1",
    ]
    space = parse("{op: sharpen, amount: 0.5, like: input, times: 2}")
    assert space.graph.shapes["out"] == (4, 4, 4)

    schema = json_schema()["$defs"]["op.sharpen"]
    assert schema["required"] == ["op", "amount"]
    assert schema["properties"]["times"]["default"] == 1
    assert schema["properties"]["amount"]["anyOf"][0] == {"type": "number"}

    for module, message in {
        "sharpen": "6: states.out.module: op 'sharpen' needs the argument 'amount'",
        "{op: sharpen, amont: 1}": "6: states.out.module.amont: op 'sharpen' has no argument 'amont'; did you mean",
        "{op: sharpen, amount: 1, times: 1.5}": "6: states.out.module.times: op 'sharpen': should be a valid integer",
        "{op: sharpen, amount: 1, like: nobody}": "6: states.out.module.like: no state is called 'nobody'",
        "{op: sharpen, amount: 1, like: 3}": "6: states.out.module.like: op 'sharpen': should be a valid string",
    }.items():
        with pytest.raises(UserError) as caught:
            parse(module)
        assert str(caught.value).startswith(f"space.yaml:{message}")


def test_what_an_op_of_the_users_does_wrong_is_named():
    @op("flat")
    def flat(shape: Shape) -> nn.Module:
        return nn.Flatten()

    @op("fussy")
    def fussy(shape: Shape) -> nn.Module:
        assert shape.channels == 3, "only flow maps"
        return nn.Identity()

    with pytest.raises(UserError, match=r"6: states.out: flat does not fit a map of 4x8x8: it makes .*\(1, 256\)"):
        parse("flat")
    with pytest.raises(UserError, match=r"6: states.out: fussy does not fit a map of 4x8x8: only flow maps"):
        parse("fussy")


def test_only_ops_whose_arguments_are_plain_are_registered():
    with pytest.raises(ValueError, match=r"registered already, by nas_mer\.space\.ops"):

        @op("conv")
        def conv(shape: Shape) -> nn.Module: ...

    with pytest.raises(ValueError, match="'amount' must stand after a `\\*`"):

        @op("positional")
        def positional(shape: Shape, amount: int = 1) -> nn.Module: ...

    with pytest.raises(ValueError, match="'amount' needs a type"):

        @op("untyped")
        def untyped(shape: Shape, *, amount=1) -> nn.Module: ...

    with pytest.raises(ValueError, match="cannot be called 'share'"):

        @op("reserved")
        def reserved(shape: Shape, *, share: str) -> nn.Module: ...

    assert not {"positional", "untyped", "reserved"} & OPS.keys()


def test_ops_are_loaded_from_a_file_once(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from __future__ import annotations\n"
        "from torch import nn\n"
        "from nas_mer.space import Shape, op\n"
        "@op('mine')\n"
        "def mine(shape: Shape, *, kernel: int = 1) -> nn.Module:\n"
        "    return nn.MaxPool2d(kernel)\n"
    )
    load_ops(file)
    load_ops(tmp_path / "." / "mine.py")
    assert parse("{op: mine, kernel: 4}").graph.shapes["out"] == (4, 2, 2)

    with pytest.raises(UserError, match=r"absent\.py: no such file"):
        load_ops(tmp_path / "absent.py")
    file = tmp_path / "broken.py"
    file.write_text("1 / 0")
    with pytest.raises(UserError, match=r"broken\.py: ZeroDivisionError: division by zero"):
        load_ops(file)
