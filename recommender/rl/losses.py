"""Losses and targets of actor-critic and value learning, as functions of tensors alone.

Shapes: B transitions; ``q`` and rewards [B]; actions [B, D]; logits [B, N]. Nothing here draws at random or keeps
anything: noise comes in as an argument.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST_VALUE = 10.0
"""Targets are clamped to [-10, 10]: r' lies in [-4, 5], and what is learned from itself runs away otherwise."""


def bootstrap(reward: Tensor, done: Tensor, next_value: Tensor, gamma: float) -> Tensor:
    """Return y = clamp(r + (1 - done) gamma Q', -10, 10), without gradients.

    Source: Lillicrap et al., Continuous control with deep reinforcement learning, arXiv:1509.02971.

    >>> bootstrap(torch.tensor([1.0, 1.0, 9.0]), torch.tensor([0.0, 1.0, 0.0]), torch.full((3,), 4.0), 0.5)
    tensor([ 3.,  1., 10.])
    """
    return (reward + (1.0 - done) * gamma * next_value).clamp(-LARGEST_VALUE, LARGEST_VALUE).detach()


def value_loss(q: Tensor, y: Tensor) -> Tensor:
    """Return mean (Q - y)^2."""
    return functional.mse_loss(q, y)


def policy_loss(q: Tensor) -> Tensor:
    """Return -mean Q(s, mu(s)), the deterministic policy gradient's."""
    return -q.mean()


def smooth_action(action: Tensor, noise: Tensor, bound: float) -> Tensor:
    """Return mu'(s') + clip(noise, -bound, bound): similar actions should be worth the same.

    Source: Fujimoto et al., Addressing function approximation error in actor-critic methods, arXiv:1802.09477.
    """
    return action + noise.clamp(-bound, bound)


def anchored_policy_loss(q: Tensor, cloning: Tensor, weight: float) -> Tensor:
    """Return cloning - lambda mean Q with lambda = weight / mean |Q|, so that the scale of Q does not matter.

    Source: TD3+BC, Fujimoto and Gu, A minimalist approach to offline reinforcement learning, arXiv:2106.06860, with
    any loss of cloning in the place of the squared distance.

    >>> anchored_policy_loss(torch.tensor([2.0, 4.0]), torch.tensor(1.0), 0.5)  # 1 - 0.5/3 * 3
    tensor(0.5000)
    """
    return cloning - weight / q.abs().mean().clamp(min=1e-6).detach() * q.mean()


def cloning_distance(action: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean squared distance of generated actions to those in the log, a coordinate."""
    return functional.mse_loss(action, chosen)


def cloning_softmax(logits: Tensor, rows: Tensor) -> Tensor:
    """Return mean -log softmax(logits)[row]: that the item in the log is the nearest, rather than near."""
    return functional.cross_entropy(logits, rows)


def conservative_penalty(q_items: Tensor, q_chosen: Tensor) -> Tensor:
    """Return mean (log mean_i exp Q(s, x_i) - Q(s, a)): values of actions that the log does not have are kept down.

    Source: conservative Q-learning, Kumar et al., arXiv:2006.04779, with items drawn evenly.

    Args:
        q_items: of C items drawn for each state, shape [B, C].
        q_chosen: of the action in the log, shape [B].
    """
    return (torch.logsumexp(q_items, dim=1) - math.log(q_items.shape[1]) - q_chosen).mean()


def top_k_weight(log_pi: Tensor, k: int) -> Tensor:
    """Return K (1 - pi)^(K - 1), without gradients: an item that is sure to be in a slate of K gains nothing more.

    Source: Chen et al., Top-K off-policy correction for a REINFORCE recommender system, arXiv:1812.02353.

    >>> top_k_weight(torch.log(torch.tensor([0.5, 0.1])), 2)
    tensor([1.0000, 1.8000])
    """
    return (k * (1.0 - log_pi.exp()) ** (k - 1)).detach()


def importance(log_pi: Tensor, log_beta: Tensor, cap: float) -> Tensor:
    """Return min(pi/beta, cap), without gradients: how much likelier the policy takes an action than the log did."""
    return (log_pi - log_beta).exp().clamp(max=cap).detach()


def reinforce_loss(log_pi: Tensor, weight: Tensor, returns: Tensor) -> Tensor:
    """Return -mean weight R log pi(a | s); Williams 1992, doi:10.1007/BF00992696."""
    return -(weight * returns * log_pi).mean()


def polyak(target: nn.Module, online: nn.Module, tau: float) -> None:
    """Move every parameter of a target: theta' <- (1 - tau) theta' + tau theta.

    Raises:
        ValueError: ``tau`` is not in (0, 1].
    """
    if not 0.0 < tau <= 1.0:
        raise ValueError(f"tau must be in (0, 1], got {tau}")
    with torch.no_grad():
        torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), tau)


def clip_gradients(parameters: Iterable[nn.Parameter], bound: float) -> Tensor:
    """Scale gradients down to a norm of at most ``bound``; return the norm before.

    Raises:
        ValueError: ``bound`` is not positive; a negative one would turn the gradients around.
    """
    if not bound > 0.0:
        raise ValueError(f"the bound of gradients must be above 0, got {bound}")
    return nn.utils.clip_grad_norm_(list(parameters), bound)
