"""The sides on a GPU; they need torch and numpy alone."""

import numpy as np
import torch

from benchmarks.ranking_sides.world import Find, World
from recommender.topk.device import DeviceIndex


def make_torch(world: World, device: str) -> Find:
    """Return a product and ``torch.topk``, answers copied back."""
    vectors = torch.from_numpy(world.single).to(device)

    def find(thetas: np.ndarray, k: int) -> np.ndarray:
        return (torch.topk(torch.from_numpy(thetas).to(device, torch.float32) @ vectors.T, k).indices).cpu().numpy()

    return find


def make_ours(world: World, device: str) -> Find:
    """Return the search of :class:`recommender.topk.device.DeviceIndex`."""
    index = DeviceIndex(world.single.astype(np.float64), device)
    column = index.column(world.values)

    def find(thetas: np.ndarray, k: int) -> np.ndarray:
        return index.top_k(thetas, column, k).rows

    return find
