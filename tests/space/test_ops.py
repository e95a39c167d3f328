import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, vmap

from nas_mer.errors import UserError
from nas_mer.space import OPS, Like, SearchSpace, Shape, json_schema, load_ops, op
from nas_mer.space.ops import OPS_FILES, Dropout, _split_mix


@pytest.fixture(autouse=True)
def registry():
    before, files = dict(OPS), list(OPS_FILES)
    yield
    OPS.clear()
    OPS.update(before)
    OPS_FILES[:] = files


# --- convolutions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels_in", "channels", "kernel", "stride", "bias"),
    [(3, 16, 3, 3, True), (3, 7, 5, 1, False), (16, 16, 3, 1, True), (5, 8, 3, 2, False), (2, 3, 1, 2, True)],
)
def test_a_wide_convolution_is_three_dilated_ones_side_by_side(channels_in, channels, kernel, stride, bias):
    shape = Shape(channels_in, 20, 17)
    wide = (
        OPS["conv"]
        .build(shape, channels=channels, kernel=kernel, stride=stride, dilations=[1, 2, 3], bias=bias)
        .double()
    )
    share, more = divmod(channels, 3)
    parts, start = [], 0
    for dilation in (1, 2, 3):
        size = share + (dilation <= more)  # as even as can be
        part = nn.Conv2d(
            channels_in, size, kernel, stride, dilation * (kernel // 2), dilation, bias=bias, dtype=torch.double
        )
        with torch.no_grad():
            part.weight.copy_(wide.weight[start : start + size])
            if bias:
                part.bias.copy_(wide.bias[start : start + size])
        parts.append(part)
        start += size
    assert start == channels

    maps = torch.randn(2, *shape, dtype=torch.double, requires_grad=True)
    expected = torch.cat([part(maps) for part in parts], dim=1)
    torch.testing.assert_close(wide(maps), expected)
    mask = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad((wide(maps) * mask).sum(), wide.weight)
    gradients = torch.autograd.grad((expected * mask).sum(), [part.weight for part in parts])
    torch.testing.assert_close(gradient, torch.cat(gradients))
    standard = OPS["conv"].build(shape, channels=channels, kernel=kernel, stride=stride, bias=bias)
    assert [p.shape for p in standard.parameters()] == [p.shape for p in wide.parameters()]


def test_a_standard_convolution_is_torchs():
    ours = OPS["conv"].build(Shape(4, 9, 9), channels=6, kernel=5, stride=2, groups=2)
    theirs = nn.Conv2d(4, 6, 5, stride=2, padding=2, groups=2)
    theirs.load_state_dict(ours.state_dict())
    maps = torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(ours(maps), theirs(maps))
    assert OPS["conv"].build(Shape(4, 9, 9)).out_channels == 4


def test_pooling_does_not_count_the_padding():
    ones = torch.ones(1, 2, 5, 5)
    pool = OPS["avg_pool"].build(Shape(2, 5, 5), kernel=3, stride=1, padding=1)
    torch.testing.assert_close(pool(ones), ones)


@pytest.mark.parametrize("size", [8, 7])
def test_skips_zeros_and_projections(size):
    shape = Shape(5, size, size)
    maps = torch.randn(2, *shape)
    half = -(-size // 2)
    assert OPS["skip"].build(shape)(maps) is maps
    assert OPS["skip"].build(shape, stride=2)(maps).shape == (2, 5, half, half)
    assert OPS["none"].build(shape, stride=2)(maps).shape == (2, 5, half, half)
    assert not OPS["none"].build(shape)(maps).any()
    assert OPS["project"].build(shape, channels=7)(maps).shape == (2, 7, size, size)
    smaller = OPS["project"].build(shape, channels=7, like=Shape(1, half, half))
    assert smaller(maps).shape == (2, 7, half, half)
    with pytest.raises(ValueError, match="neither as large"):
        OPS["project"].build(shape, channels=7, like=Shape(1, size + 1, size + 1))


def test_a_factorised_reduction_is_two_convolutions_one_pixel_apart():
    """As DARTS has it; at an odd size the second one looks over the edge, at zeros."""
    reduce = OPS["skip"].build(Shape(2, 7, 6), stride=2).eval()
    maps = torch.randn(1, 2, 7, 6)
    even = torch.einsum("oc,nchw->nohw", reduce.even.weight[:, :, 0, 0], maps.relu()[:, :, ::2, ::2])
    shifted = torch.zeros(1, 2, 4, 3)
    shifted[:, :, :3] = maps.relu()[:, :, 1::2, 1::2]
    odd = torch.einsum("oc,nchw->nohw", reduce.odd.weight[:, :, 0, 0], shifted)
    torch.testing.assert_close(reduce(maps), torch.cat([even, odd], dim=1) / (1 + reduce.norm.eps) ** 0.5)


# --- dropout ----------------------------------------------------------------------------------------------------------


SHARES = [0.1, 0.25, 0.5, 0.75, 0.9]
GOLDEN = 0x9E3779B97F4A7C15


def keyed(p, key):
    """Dropout that zeroes what a key says."""
    dropout = Dropout(p)
    dropout.key = torch.tensor(key)
    return dropout


def split_mix(state, count):
    """SplitMix64 as its authors write it."""
    found = []
    for _ in range(count):
        state = (state + GOLDEN) % 2**64
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        found.append(z ^ z >> 31)
    return found


def test_the_reference_gives_published_numbers():
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert split_mix(1234567, 4) == published


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 9))
@example(0, 3)
@example(2**62 - 1, 3)
@example(2**63 - 1, 3)
@example(-(2**63), 3)
def test_random_words_are_those_of_split_mix(key, count):
    """The first output is that of the key itself: of a generator one step before it."""
    words = _split_mix(torch.tensor(key), count, torch.device("cpu")).view(torch.int64)
    assert [word % 2**64 for word in words.tolist()] == split_mix(key - GOLDEN, count)


@pytest.mark.parametrize("p", SHARES)
def test_dropout_zeroes_a_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    n = 2_000_000
    out = Dropout(p)(torch.ones(n))
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)])
    # Five standard deviations of a Bernoulli mean.
    assert (out == 0).double().mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / n) ** 0.5)
    assert out.double().mean().item() == pytest.approx(1.0, abs=5 * (p / (1 - p) / n) ** 0.5)
    assert out.double().var().item() == pytest.approx(p / (1 - p), rel=0.02)


def test_dropout_draws_each_element_for_itself():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(200_000, 8)) > 0).double()
    correlations = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlations.abs().max() < 0.02
    assert not torch.equal(kept[:, 0], kept[:, 4])


@pytest.mark.parametrize("p", SHARES)
def test_no_two_places_are_correlated_at_any_distance(p):
    """Several elements are cut from one random word, so some far apart have more in common than neighbours."""
    n = 2**18
    kept = (keyed(p, 5)(torch.ones(n)) > 0).double()
    kept = (kept - kept.mean()) / kept.std()
    correlations = torch.fft.ifft(torch.fft.fft(kept).abs() ** 2).real[1:] / n
    assert correlations.abs().max() < 6.5 * n**-0.5  # normal, of variance 1 / n


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_keys_draw_independently(p):
    """However alike the keys are."""
    n = 200_000
    keys = [0, 1, 2, 2**20, 2**40, 2**40 + 1, 2**62 - 1, -1]
    kept = torch.stack([(keyed(p, key)(torch.ones(n)) > 0).double() for key in keys])
    correlations = torch.corrcoef(kept) - torch.eye(len(keys))
    assert correlations.abs().max() < 6 * n**-0.5


@pytest.mark.parametrize("p", SHARES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 7), (4, 16, 20, 20), (9,), (5, 33)])
def test_a_key_alone_decides_what_is_zeroed(p, shape):
    dropout = keyed(p, 2**61 + 7)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = dropout(torch.ones(shape))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    maps = torch.rand(shape, dtype=torch.double) + 1
    assert torch.equal(dropout(maps) != 0, first != 0)
    torch.testing.assert_close(dropout(maps), maps * first)
    if len(shape) == 4:
        for laid_out in (
            maps.to(memory_format=torch.channels_last),
            maps.transpose(0, 3).contiguous().transpose(0, 3),
            torch.stack([maps, maps], dim=-1)[..., 0],
        ):
            assert torch.equal(dropout(laid_out), dropout(maps))


@pytest.mark.parametrize("p", SHARES)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (5, 33)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_stacked_networks_draw_by_their_own_keys(p, shape, channels_last):
    dropout = keyed(p, 0)
    maps = torch.rand(3, *shape) + 1
    if channels_last:
        maps = maps.movedim(2, -1).contiguous().movedim(-1, 2)
    keys = torch.tensor([3, 2**61, 4])
    stacked = vmap(lambda key, x: functional_call(dropout, {"key": key}, (x,)))(keys, maps)
    for out, key, one in zip(stacked, keys.tolist(), maps, strict=True):
        assert torch.equal(out, keyed(p, key)(one))


def test_a_key_is_no_weight():
    assert keyed(0.5, 3).state_dict() == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dropout_keeps_the_type(dtype):
    out = keyed(0.75, 3)(torch.ones(50, dtype=dtype))
    assert out.dtype == dtype
    assert set(out.tolist()) == {0.0, 4.0}


def test_dropout_is_the_identity_in_evaluation_and_at_zero():
    maps = torch.randn(2, 3, 4, 4)
    assert Dropout(0.5).eval()(maps) is maps
    assert Dropout(0.0).train()(maps) is maps
    assert keyed(0.5, 3).eval()(maps) is maps


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 1, 1, 1), (3, 16, 20, 20)])
def test_dropout_keeps_the_memory_format(shape):
    maps = torch.ones(shape).to(memory_format=torch.channels_last)
    out = Dropout(0.5)(maps)
    assert out.shape == maps.shape
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert Dropout(0.5)(torch.ones(shape)).is_contiguous()


def test_dropout_takes_views_with_gaps():
    maps = torch.ones(4, 6, 8, 8)
    for view in (maps[:, :, ::2, ::2], maps[:, 1:4], torch.ones(4, 1, 8, 8).expand(4, 6, 8, 8)):
        out = Dropout(0.5)(view)
        assert out.shape == view.shape
        assert 0.3 < (out == 0).double().mean() < 0.7


def test_dropout_without_a_key_repeats_under_the_same_seed():
    maps = torch.randn(5, 7)
    torch.manual_seed(7)
    first, second = Dropout(0.5)(maps), Dropout(0.5)(maps)
    torch.manual_seed(7)
    assert torch.equal(Dropout(0.5)(maps), first)
    assert torch.equal(Dropout(0.5)(maps), second)
    assert not torch.equal(first, second)


def test_dropout_scales_gradients_as_outputs():
    torch.manual_seed(0)
    maps = torch.rand(50, dtype=torch.double, requires_grad=True)
    out = Dropout(0.3)(maps)
    out.sum().backward()
    torch.testing.assert_close(maps.grad * maps.detach(), out.detach())


# --- the registry -----------------------------------------------------------------------------------------------------


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
