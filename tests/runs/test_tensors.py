import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nas_mer.errors import UserError
from nas_mer.runs.tensors import packed, read_tensor, read_tensors, unpacked, write_tensors

TENSORS = {
    "network.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "random": torch.get_rng_state(),
    "epoch": torch.tensor(3),
    "empty": torch.zeros(0, 3),
}
ABOUT = {"epochs": [{"epoch": 1, "loss": 0.1 + 0.2}], "failure": None, "name": "é\n"}

numbers = arrays.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8]), arrays.array_shapes(min_side=0, max_side=4)
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(numbers)
def test_a_tensor_comes_out_bit_for_bit(array):
    found = unpacked(packed({"it": torch.from_numpy(array)}, {}))[0]["it"].numpy()
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_several_tensors_and_values():
    found, about = unpacked(packed(TENSORS, ABOUT))
    assert about == ABOUT
    assert {name: tensor.tolist() for name, tensor in found.items()} == {n: t.tolist() for n, t in TENSORS.items()}


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_content_cut_short_is_an_error(data):
    whole = packed(TENSORS, ABOUT)
    with pytest.raises(ValueError, match=r"."):
        unpacked(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_the_safetensors_library_reads_the_file(tmp_path):
    write_tensors(tmp_path / "0.safetensors", packed(TENSORS, ABOUT))
    found = safetensors.torch.load_file(tmp_path / "0.safetensors")
    assert {name: tensor.tolist() for name, tensor in found.items()} == {n: t.tolist() for n, t in TENSORS.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["0.safetensors"]


def test_a_damaged_file_is_named_and_how_to_mend_it(tmp_path):
    file = tmp_path / "s01.safetensors"
    file.write_bytes(packed(TENSORS, ABOUT)[:-7])
    with pytest.raises(UserError, match=r"s01\.safetensors: is damaged .*; delete it, .* makes it again"):
        read_tensors(file)
    with pytest.raises(UserError, match=r"s01\.safetensors: is damaged .*; delete it, .* makes it again"):
        read_tensor(file, "it")


@pytest.mark.parametrize("name", TENSORS)
def test_one_tensor_is_the_one_among_all(tmp_path, name):
    file = tmp_path / "s01.safetensors"
    write_tensors(file, packed(TENSORS, ABOUT))
    tensor, about = read_tensor(file, name)
    assert about == ABOUT
    assert tensor.tolist() == TENSORS[name].tolist()
