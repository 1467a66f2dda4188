"""DDPG as the RecNN library has it: frames made in Python batch by batch, and every loss computed at every step.

Its networks, losses, order and rhythm are kept, and its gradients are clipped by a positive bound.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

FRAME_SIZE, GAMMA, TAU, POLICY_STEP = 10, 0.99, 0.001, 10


class Actor(nn.Module):
    """1290-256-256-128."""

    def __init__(self, inputs: int, actions: int, hidden: int) -> None:
        super().__init__()
        self.drop_layer = nn.Dropout(p=0.5)
        self.linear1, self.linear2 = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
        self.linear3 = nn.Linear(hidden, actions)

    def forward(self, state: Tensor) -> Tensor:
        """Return proto-actions."""
        action = self.drop_layer(torch.relu(self.linear1(state)))
        action = self.drop_layer(torch.relu(self.linear2(action)))
        proto: Tensor = self.linear3(action)
        return proto


class Critic(nn.Module):
    """1418-256-256-1."""

    def __init__(self, inputs: int, actions: int, hidden: int) -> None:
        super().__init__()
        self.drop_layer = nn.Dropout(p=0.5)
        self.linear1, self.linear2 = nn.Linear(inputs + actions, hidden), nn.Linear(hidden, hidden)
        self.linear3 = nn.Linear(hidden, 1)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """Return values."""
        value = self.drop_layer(torch.relu(self.linear1(torch.cat([state, action], 1))))
        value = self.drop_layer(torch.relu(self.linear2(value)))
        worth: Tensor = self.linear3(value)
        return worth


def make_batch(users: Sequence[Mapping[str, np.ndarray]], embeddings: Mapping[int, Tensor]) -> Mapping[str, Tensor]:
    """Return a batch of some users' frames, looked up item by item."""
    states, actions, rewards, next_states, done = [], [], [], [], []
    for user in users:
        items, ratings = user["items"], user["ratings"]
        vectors = torch.stack([embeddings[int(item)] for item in items])
        for start in range(len(items) - FRAME_SIZE):
            end = start + FRAME_SIZE
            states.append(torch.cat([vectors[start:end].flatten(), torch.tensor(ratings[start:end])]))
            next_states.append(
                torch.cat([vectors[start + 1 : end + 1].flatten(), torch.tensor(ratings[start + 1 : end + 1])])
            )
            actions.append(vectors[end])
            rewards.append(float(ratings[end]))
            done.append(float(end == len(items) - 1))
    return {
        "state": torch.stack(states),
        "action": torch.stack(actions),
        "reward": torch.tensor(rewards)[:, None],
        "next_state": torch.stack(next_states),
        "done": torch.tensor(done)[:, None],
    }


class PlainDdpg:
    """The four networks and their updates, on a device."""

    def __init__(self, dim: int, hidden: int = 256, device: str = "cpu") -> None:
        state, self.device = FRAME_SIZE * (dim + 1), device
        self.nets = OrderedDict(
            value=Critic(state, dim, hidden),
            target_value=Critic(state, dim, hidden).eval(),
            policy=Actor(state, dim, hidden),
            target_policy=Actor(state, dim, hidden).eval(),
        )
        for network in self.nets.values():
            network.to(device)
        self.value_optimiser = torch.optim.Adam(self.nets["value"].parameters(), lr=1e-5)
        self.policy_optimiser = torch.optim.Adam(self.nets["policy"].parameters(), lr=1e-5)
        self.step = 0

    def update(self, batch: Mapping[str, Tensor]) -> float:
        """Take one step."""
        nets, batch = self.nets, {name: each.to(self.device) for name, each in batch.items()}
        with torch.no_grad():
            next_action = nets["target_policy"](batch["next_state"])
            target = nets["target_value"](batch["next_state"], next_action)
            expected = (batch["reward"] + (1.0 - batch["done"]) * GAMMA * target).clamp(-10.0, 10.0)
        value_loss = torch.pow(nets["value"](batch["state"], batch["action"]) - expected, 2).mean()
        self.value_optimiser.zero_grad()
        value_loss.backward(retain_graph=True)
        self.value_optimiser.step()
        policy_loss = -nets["value"](batch["state"], nets["policy"](batch["state"])).mean()
        if self.step % POLICY_STEP == 0:
            self.policy_optimiser.zero_grad()
            policy_loss.backward()
            nn.utils.clip_grad_norm_(nets["policy"].parameters(), 1.0)
            self.policy_optimiser.step()
        for name in ("value", "policy"):
            for target_weight, weight in zip(nets[f"target_{name}"].parameters(), nets[name].parameters(), strict=True):
                target_weight.data.copy_(target_weight.data * (1.0 - TAU) + weight.data * TAU)
        self.step += 1
        return value_loss.item() + policy_loss.item()


def batches(
    histories: Sequence[Mapping[str, np.ndarray]], embeddings: Mapping[int, Tensor], users: int
) -> Iterator[Mapping[str, Tensor]]:
    """Yield batches of ``users`` users without end."""
    while True:
        for start in range(0, len(histories), users):
            yield make_batch(histories[start : start + users], embeddings)
