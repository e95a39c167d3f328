import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Small maps are quicker on one thread, and sums are the same on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
