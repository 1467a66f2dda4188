"""Every index that promises the reference's top k: compiled for the processor, and torch on each device there is."""

from functools import partial

import pytest
import torch

from recommender.topk.device import DeviceIndex
from recommender.topk.index import ItemIndex

INDEXES = {
    "compiled": ItemIndex,
    "torch on cpu": partial(DeviceIndex, device="cpu", scores_at_once=4096),
    "torch on cuda": partial(DeviceIndex, device="cuda"),
}


@pytest.fixture(params=INDEXES, scope="session")
def make_index(request):
    """vectors [N, D] -> an index of them."""
    if request.param == "torch on cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    return INDEXES[request.param]
