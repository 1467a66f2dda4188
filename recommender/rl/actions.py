"""What proto-actions stand for, and whether they look like items."""

import torch
from torch import Tensor
from torch.nn import functional

from recommender.rl.networks import Actor, Network
from recommender.rl.states import States


def items_near(action: Tensor, vectors: Tensor, temperature: float) -> Tensor:
    """Return what a proto-action stands for: sum_i softmax(a . x_i / T) x_i, shape [B, D].

    It is attention to the items, which torch computes without ever keeping all of the [B, N] chances.

    >>> items_near(torch.tensor([[0.0, 0.0]]), torch.eye(2), 0.1)
    tensor([[0.5000, 0.5000]])
    """
    asked, items = action[None, None], vectors[None, None]
    near: Tensor = functional.scaled_dot_product_attention(asked, items, items, scale=1.0 / temperature)[0, 0]
    return near


def act_roughly(actor: Network, state: Tensor, frame_size: int, event_dropout: float) -> Tensor:
    """Return proto-actions as in training: hidden units left out, and items' vectors of states, but no rating.

    Args:
        actor: left in evaluation mode.
        state: shape [B, F (D + 1)].
        frame_size: F.
        event_dropout: chance of each item of a state to be left out.
    """
    split = state.shape[1] - frame_size
    kept = _keep(len(state), frame_size, event_dropout, state.device)[:, :, None]
    items = (state[:, :split].view(len(state), frame_size, -1) * kept).flatten(1)
    actor.train()
    action: Tensor = actor(torch.cat((items, state[:, split:]), dim=1))
    actor.eval()
    return action


def act_roughly_in(actor: Actor, states: States, event_dropout: float) -> Tensor:
    """Return what :func:`act_roughly` does, of states that few items make up."""
    kept = _keep(len(states), states.places.shape[1], event_dropout, states.rewards.device)
    actor.train()
    action = actor.act(states.weighted(kept))
    actor.eval()
    return action


def _keep(count: int, frame_size: int, event_dropout: float, device: torch.device) -> Tensor:
    """Return 0 where an event's vector is left out, 1/(1 - chance) elsewhere, shape [count, F]."""
    return (torch.rand(count, frame_size, device=device) >= event_dropout) / (1.0 - event_dropout)


def measure_actions(action: Tensor, chosen: Tensor, vectors: Tensor) -> dict[str, float]:
    """Return mean distances 1 - cos of actions: to the item that came, to the nearest item, and among themselves.

    Actions that look like items have one near by; actions that are all alike have no distance among themselves.

    >>> measure_actions(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.eye(2))
    {'action/chosen': 0.5, 'action/nearest': 0.0, 'action/others': 1.0}
    """
    return {name: value.item() for name, value in compare_actions(action, chosen, vectors).items()}


def compare_actions(
    action: Tensor, chosen: Tensor, vectors: Tensor, products: Tensor | None = None
) -> dict[str, Tensor]:
    """Return what :func:`measure_actions` does, left where it was computed; products, a . x_i, where they are known."""
    with torch.no_grad():
        unit = functional.normalize(action, dim=1)
        if products is None:
            products = action @ vectors.T
        cosines = (products / _length(vectors)).amax(dim=1) / _length(action)
        count, total = len(unit), unit.sum(dim=0)
        others = (total @ total - (unit * unit).sum()) / max(count * (count - 1), 1)
        return {
            "action/chosen": 1.0 - functional.cosine_similarity(action, chosen, dim=1).mean(),
            "action/nearest": 1.0 - cosines.mean(),
            "action/others": 1.0 - others,
        }


def _length(vectors: Tensor) -> Tensor:
    """Return |x| of each, that of a vector of zeros a little above, shape [N]."""
    length: Tensor = vectors.norm(dim=1)
    return length.clamp(min=1e-12)
