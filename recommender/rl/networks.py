"""Networks of actor-critic learning in torch, in the layout of the RecNN library, and what they are as layers."""

import torch
from torch import Tensor, nn

from recommender.embeddings.layers import Layer
from recommender.rl.state import state_size
from recommender.rl.states import States


class Network(nn.Module):
    """Three affine layers with ReLU and dropout between; the last begins uniform in (-spread, spread)."""

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float, spread: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(inputs, hidden)
        self.linear2 = nn.Linear(hidden, hidden)
        self.linear3 = nn.Linear(hidden, outputs)
        self.dropout = dropout
        nn.init.uniform_(self.linear3.weight, -spread, spread)
        nn.init.uniform_(self.linear3.bias, -spread, spread)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, shape [..., outputs]."""
        return self.after_first(self.linear1(x))

    def after_first(self, first: Tensor) -> Tensor:
        """Return the outputs, given what the first affine layer came to, shape [..., hidden]."""
        hidden = _drop(torch.relu(first), self.dropout, self.training)
        hidden = _drop(torch.relu(self.linear2(hidden)), self.dropout, self.training)
        outputs: Tensor = self.linear3(hidden)
        return outputs

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers as a release has them, first to last."""
        each = (self.linear1, self.linear2, self.linear3)
        return tuple(Layer(of.weight.detach().numpy().copy(), of.bias.detach().numpy().copy()) for of in each)


def _drop(x: Tensor, rate: float, training: bool) -> Tensor:
    """Return x with coordinates left out, when training."""
    return nn.functional.dropout(x, rate, training) if rate else x


class Actor(Network):
    """mu: a state [B, F (D + 1)] to a proto-action [B, D]."""

    def __init__(
        self, frame_size: int, dim: int, hidden: int = 256, dropout: float = 0.0, spread: float = 0.03
    ) -> None:
        super().__init__(state_size(frame_size, dim), hidden, dim, dropout, spread)

    def act(self, states: States) -> Tensor:
        """Return the proto-actions of states, shape [B, D]."""
        return self.after_first(states.times(self.linear1.weight, self.linear1.bias))

    def encoder(self) -> tuple[Layer, Layer] | None:
        """Return what reads a state before the layers do, as a release has it; None where these do."""
        return None


class Critic(Network):
    """Q: a state and an action, side by side, to a value [B]."""

    def __init__(
        self, frame_size: int, dim: int, hidden: int = 256, dropout: float = 0.0, spread: float = 0.003
    ) -> None:
        super().__init__(state_size(frame_size, dim) + dim, hidden, 1, dropout, spread)
        self.dim = dim

    def value(self, state: Tensor, action: Tensor) -> Tensor:
        """Return Q(s, a), shape [B]."""
        value: Tensor = self(torch.cat((state, action), dim=1))
        return value[:, 0]

    def value_of(self, states: States, action: Tensor) -> Tensor:
        """Return Q(s, a), shape [B], the state's part of the first layer by itself."""
        of_state, of_action = self.linear1.weight[:, : -self.dim], self.linear1.weight[:, -self.dim :]
        first = torch.addmm(states.times(of_state, self.linear1.bias), action, of_action.T)
        return self.after_first(first)[:, 0]

    def values(self, state: Tensor, items: Tensor) -> Tensor:
        """Return Q(s, x_i) of items [B, C, D] or, the same of every state, [C, D]; shape [B, C].

        The first layer is linear, so the state's part of it is computed once a state and not once an item.
        """
        of_state, of_items = self.linear1.weight[:, : -self.dim], self.linear1.weight[:, -self.dim :]
        first = (state @ of_state.T + self.linear1.bias)[:, None, :] + items @ of_items.T
        return self.after_first(first)[:, :, 0]


class HistoryEncoder(nn.Module):
    """An LSTM over [x_t, r'_t] of whole padded histories: the state after each event, shape [B, L, hidden]."""

    def __init__(self, dim: int, hidden: int = 256) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim + 1, hidden, batch_first=True)

    def forward(self, vectors: Tensor, rewards: Tensor) -> Tensor:
        """Return the states; what comes after an event has no part in its state, so padding at the end has none.

        Args:
            vectors: of the items, shape [B, L, D].
            rewards: r', shape [B, L].
        """
        states: Tensor = self.lstm(torch.cat((vectors, rewards[:, :, None]), dim=2))[0]
        return states


class RecurrentActor(Actor):
    """mu, by layers on what an LSTM makes of a state's events: a state [B, F (D + 1)] to a proto-action [B, D]."""

    def __init__(
        self, frame_size: int, dim: int, hidden: int = 256, dropout: float = 0.0, spread: float = 0.03
    ) -> None:
        Network.__init__(self, hidden, hidden, dim, dropout, spread)
        self.history = HistoryEncoder(dim, hidden)
        self.frame_size = frame_size

    def forward(self, x: Tensor) -> Tensor:
        """Return the proto-actions, shape [B, D]."""
        split = x.shape[1] - self.frame_size
        items = x[:, :split].view(len(x), self.frame_size, -1)
        return super().forward(self.history(items, x[:, split:])[:, -1])

    def act(self, states: States) -> Tensor:
        """Return the proto-actions, shape [B, D]."""
        action: Tensor = self(states.flat)
        return action

    def encoder(self) -> tuple[Layer, Layer] | None:
        """Return the LSTM as a release has it."""
        w, u, b, d = (each.detach().numpy().copy() for each in self.history.lstm.all_weights[0])
        return Layer(w, b), Layer(u, d)
