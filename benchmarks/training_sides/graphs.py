"""Our steps as CUDA graphs: recorded once, then replayed with no Python between the kernels.

Shapes and addresses of a graph never change, so its batches all have the same number of frames, and what says which
these are is copied to one place. A step that moves the actor and one that does not are a graph each.
"""

import torch
from torch import Tensor

from recommender.rl.batches import FrameTensors
from recommender.rl.ddpg import Ddpg

_WARM_UP_STEPS = 3


class GraphedSteps:
    """Steps of a learner that is on a GPU; recording them takes some steps too.

    Args:
        learner: with its networks and vectors on the GPU; its optimisers have taken no step yet.
        tensors: the frames, on the GPU.
        rows: frames of every batch.
    """

    def __init__(self, learner: Ddpg, tensors: FrameTensors, rows: int) -> None:
        self._learner, self._tensors = learner, tensors
        self._places = torch.zeros(rows, dtype=torch.int64, device=learner.vectors.device)
        for optimiser in (learner.actor_optimiser, learner.critic_optimiser):
            for group in optimiser.param_groups:
                group["capturable"] = True
        self._graphs = {improves: self._record(improves) for improves in (False, True)}

    def take(self, places: Tensor, step: int) -> None:
        """Learn from some frames, shape [rows]; the GPU may still be at it afterwards."""
        self._places.copy_(places)
        self._graphs[step % self._learner.settings.policy_step == 0].replay()

    def _record(self, improves: bool) -> torch.cuda.CUDAGraph:
        """Return a graph of a step, as torch's page on CUDA graphs has it: after steps on a stream of their own."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_STEPS):
                self._step(improves)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(improves)
        return graph

    def _step(self, improves: bool) -> None:
        self._learner.learn(self._tensors.batch(self._places, self._learner.vectors), improves=improves)
