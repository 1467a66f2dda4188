"""Targets and losses of value learning over items as such, as functions of tensors alone.

Shapes: B transitions, N items or C candidates; values of all items [B, N].
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from recommender.rl.losses import bootstrap


def double_q(online: Tensor, target: Tensor) -> Tensor:
    """Return Q'(s', argmax_i Q(s', i)), shape [B]: one network names the best item, the other says what it is worth.

    The maximum of noisy values is too high, as a rule; the value of an item that another network chose is not.

    Source: van Hasselt, Guez and Silver, Deep reinforcement learning with double Q-learning, arXiv:1509.06461.

    Args:
        online: Q of all items of the next states, shape [B, N].
        target: Q' of the same, shape [B, N].

    >>> double_q(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[9.0, 3.0, 5.0]]))
    tensor([3.])
    """
    return target.gather(1, online.argmax(dim=1, keepdim=True))[:, 0]


def crossed_targets(reward: Tensor, done: Tensor, next_values: Tensor, gamma: float) -> Tensor:
    """Return the targets of two networks, each what the other says of the next action: y_1 of Q2', y_2 of Q1'.

    Source: SARSA with two networks, Ganger, Duryea and Hu, Double Sarsa and double expected Sarsa with shallow and
    deep learning, doi:10.4236/jdaip.2016.44014, after van Hasselt's double Q-learning.

    Args:
        reward: shape [B].
        done: shape [B].
        next_values: Q1' and Q2' of the next action in the log, shape [2, B].
        gamma: what a step later counts for.

    >>> crossed_targets(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([[2.0], [4.0]]), 0.5)
    tensor([[3.],
            [2.]])
    """
    return bootstrap(reward, done, next_values.flip(0), gamma)


def anchoring_penalty(q: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """Return mean (T log sum_i exp(Q(s, i)/T) - Q(s, a)): T times the loss of cloning by softmax(Q/T).

    Without it, the best of all items is one that the log never tried and nothing contradicts.

    Source: conservative Q-learning over all actions, Kumar et al., arXiv:2006.04779, with a temperature.

    Args:
        q: of all items, shape [B, N].
        rows: of the items in the log, shape [B].
        temperature: T.
    """
    return temperature * functional.cross_entropy(q / temperature, rows)


def allowed_items(logits: Tensor, ratio: float) -> Tensor:
    """Return which items a behaviour policy takes often enough: pi_b(i)/max_j pi_b(j) >= ratio, shape as given.

    Source: discrete BCQ, Fujimoto et al., Benchmarking batch deep reinforcement learning algorithms, arXiv:1910.01708.

    Args:
        logits: of softmax, shape [B, N] or those of candidates that the likeliest item is among.
        ratio: in (0, 1]; 1 leaves the likeliest alone.

    >>> allowed_items(torch.log(torch.tensor([[0.5, 0.2, 0.1]])), 0.3)
    tensor([[ True,  True, False]])
    """
    return logits >= logits.amax(dim=1, keepdim=True) + math.log(ratio)


def soft_minimum(values: Tensor, weight: float) -> Tensor:
    """Return weight min_j Q_j + (1 - weight) max_j Q_j: two critics, of which the lower counts more.

    Source: BCQ, Fujimoto, Meger and Precup, Off-policy deep reinforcement learning without exploration,
    arXiv:1812.02900.

    Args:
        values: of each critic, shape [2, ...].
        weight: in [0, 1].

    >>> soft_minimum(torch.tensor([[1.0], [5.0]]), 0.75)
    tensor([2.])
    """
    return weight * values.amin(dim=0) + (1.0 - weight) * values.amax(dim=0)


def best_allowed(values: Tensor, is_allowed: Tensor) -> Tensor:
    """Return the highest value of an allowed item, shape [B]; one at least must be allowed.

    >>> best_allowed(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[True, True, False]]))
    tensor([2.])
    """
    return values.masked_fill(~is_allowed, -torch.inf).amax(dim=1)
