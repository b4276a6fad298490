"""A fixture for folders whose tests compute with torch; a conftest that imports it has it around every module."""

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The number of threads changes the last bits; and for tiny tensors they take long where others want the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
