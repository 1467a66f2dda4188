"""``streamrec simulate --through-bus``: worker and scorer of the experiment's own, and what they choose."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from uuid import uuid4

import numpy as np
from kafka.errors import KafkaError

from recommender.catalogue import Catalogue
from recommender.embeddings.features import FeatureEncoder
from recommender.embeddings.layers import Layer
from recommender.embeddings.model import EmbeddingModel
from recommender.policies import PolicySettings
from recommender.simulation.experiment import Outcomes, Terms
from recommender.simulation.people import People
from schemas.errors import ConfigurationError
from schemas.events import Item
from schemas.topics import TOPICS
from services.admin.bus import open_admin
from services.admin.catalogue import publish_items
from services.admin.rate import refuse_own_events
from services.admin.releases import publish_release
from services.lab.simulation import COMPAT_SUFFIX
from services.lab.through_bus import ask_for_choices, outcomes_of
from services.runtime.supervise import Supervisor
from streams.bus.topics import create_topics
from streams.models.releases import save_release
from streams.settings import UP_FILE, Settings
from streams.store.clients import make_client

_KEYS_A_CALL = 500
_NO_GENRE = "-"


def run_through_bus(
    people: People,
    policies: Sequence[str],
    terms: Terms,
    parameters: PolicySettings,
    seed: int,
    settings: Settings,
    on_step: Callable[[], None],
) -> dict[str, Outcomes]:
    """Return what comes of the experiment as real events, by policy.

    Topics, keys and models are the experiment's own, on the broker and the store of the settings; they are removed.

    Raises:
        ConfigurationError: a policy is none of the ``_compat`` ones, or a server does not answer.
        StreamrecError: worker or scorer ended, or a request was not answered as it must be.
    """
    if others := [name for name in policies if not name.endswith(COMPAT_SUFFIX)]:
        raise ConfigurationError(
            f"--through-bus is for policies of the scorer's by the notebook's rules, got {', '.join(others)}"
        )
    refuse_own_events(settings)
    with own_system(people.catalogue, parameters, seed, settings) as own:
        heard = ask_for_choices(people, policies, terms, parameters, seed, own, on_step)
    return {name: outcomes_of(people, terms, parameters.s, each) for name, each in heard.items()}


@contextmanager
def own_system(catalogue: Catalogue, parameters: PolicySettings, seed: int, settings: Settings) -> Iterator[Settings]:
    """Give a running system with topics, namespace, catalogue and vectors of its own; it is removed afterwards.

    Logs stay in ``.streamrec/simulate``.
    """
    name = f"simulate-{uuid4().hex[:10]}"
    with ExitStack() as stack:
        models = stack.enter_context(tempfile.TemporaryDirectory(prefix=name))
        own = Settings(**(settings.model_dump() | _own_names(name, models, parameters, seed)))
        with open_admin(own) as admin:
            create_topics(admin, own)
        stack.callback(_remove, own)
        publish_items(own, [Item(item_id=item_id) for item_id in catalogue.item_ids])
        publish_release(own, save_release(_model_of(catalogue), models, own.embedding))
        supervisor = stack.enter_context(Supervisor(UP_FILE.parent / "simulate" / name))
        argv = [sys.executable, "-m", "services.cli.main"]
        children = [supervisor.launch(each, [*argv, each], _environment_of(own)) for each in ("worker", "scorer")]
        for child in children:
            child.wait_for_event(f"{child.name}.ready")
        yield own


def _own_names(name: str, models: str, parameters: PolicySettings, seed: int) -> dict[str, Any]:
    topics = {f"topic_{role.replace('.', '_')}": f"{name}.{role}" for role in TOPICS}
    return topics | {
        "namespace": name,
        "topic_prefix": f"{name}.",
        "model_dir": models,
        "seed": seed,
        "novelty_s": parameters.s,
    }


def _environment_of(own: Settings) -> dict[str, str]:
    values = own.model_dump(exclude_none=True)
    return {f"STREAMREC_{name.upper()}": str(value) for name, value in values.items()}


def _model_of(catalogue: Catalogue) -> EmbeddingModel:
    """Return a release of the catalogue's vectors as they are; what has none gets the zero vector that it counts as."""
    nothing = Layer(np.zeros((catalogue.dim, 1), dtype=np.float32), np.zeros(catalogue.dim, dtype=np.float32))
    features = FeatureEncoder(genres=(_NO_GENRE,), years=())
    return EmbeddingModel("given", catalogue.item_ids, catalogue.vectors, features, (nothing,))


def _remove(own: Settings) -> None:
    """Remove the topics and keys, as far as the servers let us."""
    with open_admin(own) as admin, suppress(KafkaError):
        admin.delete_topics([own.topic(role) for role in TOPICS])
    client = make_client(own)
    try:
        keys = client.scan_iter(match=f"{{{own.namespace}:*", count=_KEYS_A_CALL)
        for key in keys:
            client.unlink(key)
    finally:
        client.close()
