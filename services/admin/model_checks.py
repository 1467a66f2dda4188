"""What the doctor asks of catalogue, embeddings, torch and GPU."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial

from recommender.policies import POLICY_MODELS, read_policy_model
from schemas.errors import ModelError
from schemas.events import ModelRelease
from services.admin.catalogue import read_catalogue
from services.admin.findings import Finding
from services.admin.releases import read_releases
from streams.models.releases import load_policy_release, load_release
from streams.settings import Settings

TORCH_TIMEOUT_S = 60.0
# In a process of its own: torch takes seconds and hundreds of MiB, and no command but training may import it.
_ASK_TORCH = (
    "import torch; n = torch.cuda.device_count() if torch.cuda.is_available() else 0; "
    "print(torch.__version__, '|', ', '.join(torch.cuda.get_device_name(i) for i in range(n)))"
)


def check_catalogue(settings: Settings) -> Iterator[Finding]:
    """Yield how many items there are, and how many cannot be read."""
    catalogue = read_catalogue(settings)
    size = len(catalogue.items)
    if not size:
        yield Finding("catalogue", "warn", "no items", "run `streamrec catalog load FILE` or `... movielens-100k`")
        return
    plain = sum(not item.genres and item.year is None for item in catalogue.items)
    says = f"{size} items, {len(catalogue.withdrawn)} withdrawn, {plain} without genre and year"
    if catalogue.refused:
        yield Finding(
            "catalogue", "warn", f"{says}; {catalogue.refused} refused", "publish the refused items again, corrected"
        )
        return
    yield Finding("catalogue", "ok", says)


def check_embeddings(settings: Settings) -> Iterator[Finding]:
    """Yield whether the active release can be fetched, is the one released, and how much it covers."""
    release = read_releases(settings).get(settings.embedding)
    if release is None:
        yield Finding(
            "embeddings",
            "warn",
            f"no release named {settings.embedding!r}: items are ranked by their means alone",
            "run `streamrec train autoencoder`",
        )
        return
    try:
        model = load_release(release)
    except ModelError as error:
        yield Finding("embeddings", "fail", str(error), "train again, or make the file readable from here")
        return
    items = read_catalogue(settings).items
    covered = int(model.vectors_for(items)[1].sum()) if items else 0
    says = f"{release.label}, D = {model.dim}, sha256 as released, {covered} of {len(items)} items have a vector"
    is_thin = covered < len(items) / 2
    yield Finding("embeddings", "warn" if is_thin else "ok", says, "train again on this catalogue" if is_thin else "")


def check_policy_models(settings: Settings) -> Iterator[Finding]:
    """Yield whether each policy's released model can be fetched, is the one released, and how much it knows.

    A model that no request asks for may be missing: only what the setting ``policy`` names is asked for by itself.
    """
    releases = read_releases(settings)
    for name in POLICY_MODELS:
        release = releases.get(name)
        if release is not None:
            yield _check_policy_model(release, settings)
        elif name in settings.policy_weights:
            says = f"no release named {name!r}: its requests are answered with model_unavailable"
            yield Finding(f"policy {name}", "fail", says, f"train and release it, or take {name} out of the policy")


def _check_policy_model(release: ModelRelease, settings: Settings) -> Finding:
    check = f"policy {release.name}"
    try:
        scale = settings.rating_min, settings.rating_max
        model = load_policy_release(release, partial(read_policy_model, scale=scale))
    except ModelError as error:
        return Finding(check, "fail", str(error), "train again, or make the file readable from here")
    items = read_catalogue(settings).items
    known = len({item.item_id for item in items} & set(model.item_ids))
    says = f"{release.label}, sha256 as released, knows {known} of {len(items)} items"
    is_thin = known < len(items) / 2
    return Finding(check, "warn" if is_thin else "ok", says, "train again on this log" if is_thin else "")


def check_torch(argv: Sequence[str] = (sys.executable, "-c", _ASK_TORCH)) -> Iterator[Finding]:
    """Yield whether torch can be imported, and which GPUs it sees; neither is needed to serve."""
    try:
        asked = subprocess.run(argv, capture_output=True, text=True, timeout=TORCH_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("torch", "warn", f"cannot be asked: {error}", "try `python -c 'import torch'`")
        return
    if asked.returncode != 0:
        reason = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        yield Finding("torch", "warn", reason, "install streamrec[trainer] where autoencoders are trained")
        return
    version, _, devices = (part.strip() for part in asked.stdout.strip().partition("|"))
    yield Finding("torch", "ok", version)
    yield Finding("gpu", "ok", devices or "none; the CPU does all the work")
