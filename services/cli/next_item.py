"""The next-item protocol of ``streamrec evaluate``: run it, show it, and say it as JSON."""

from collections.abc import Sequence
from typing import Any

from recommender.ranking.collapse import CollapseLimits, collapse_of
from recommender.ranking.log import RatingLog
from recommender.sequence.training import SequenceLoss
from schemas.events import Item
from services.cli.rankers import check_rankable, policy_rankers
from services.cli.show import note, progress_bar, show_table
from services.lab.baselines import check_baselines
from services.lab.next_item import Ranked, rank, summarise
from streams.settings import Settings


def run_next_item(
    log: RatingLog,
    items: Sequence[Item],
    policies: Sequence[str],
    baselines: Sequence[str],
    settings: Settings,
    seed: int = 7,
    limits: CollapseLimits | None = None,
) -> tuple[Ranked, dict[str, Any]]:
    """Return what the protocol says of policies and baselines, and the same as JSON can say it.

    Args:
        log: of :func:`services.lab.next_item.gather_log`.
        items: of the log's rows.
        policies: names of the project's policies.
        baselines: keys of :data:`services.lab.baselines.BASELINES`.
        settings: parameters of the policies.
        seed: of the training of models.
        limits: below which a policy counts as collapsed.

    Raises:
        ConfigurationError: a name is unknown, or what a baseline needs is not installed.
    """
    check_rankable(policies)
    check_baselines(baselines)
    with progress_bar() as progress:
        task = progress.add_task("next item", total=len(policies) + 2 * len(baselines))
        started = False

        def on_ranker(name: str) -> None:
            nonlocal started
            progress.update(task, description=name, advance=1 if started else 0)
            started = True

        def on_epoch(loss: SequenceLoss) -> None:
            progress.update(task, description=f"sequence: epoch {loss.epoch}, validation {loss.validation:.4f}")

        makers = policy_rankers(policies, items, settings, seed, on_epoch)
        ranked = rank(log, items, makers, baselines, on_ranker)
    said = summarise(ranked)
    for name in ranked.policies:
        collapse = collapse_of(ranked.predictions[name].lists, len(items), limits or CollapseLimits())
        said["ranking"][name]["collapse"] = collapse
        if collapse is not None:
            note(f"policy {name} has collapsed: {collapse}")
    return ranked, said


def show_next_item(ranked: Ranked) -> None:
    """Show the measures as a table, the best first."""
    title = (
        f"next item: {ranked.events - ranked.cut:,} events after {ranked.cut:,}; ± a standard error over users; "
        "baselines are marked *"
    )
    columns = ("", "NDCG@10", "hit@10", "MRR", "with history", "without", "coverage", "entropy", "distance")
    order = sorted(ranked.reports.items(), key=lambda pair: -pair[1].everyone["ndcg@10"].mean)
    rows = []
    for name, each in order:
        ndcg, known, new = (group["ndcg@10"] for group in (each.everyone, each.known, each.new))
        rows.append(
            (
                name if name in ranked.policies else f"{name} *",
                f"{ndcg.mean:.4f} ± {ndcg.error:.4f}",
                f"{each.everyone['hit@10'].mean:.4f}",
                f"{each.everyone['mrr'].mean:.4f}",
                f"{known.mean:.4f} ± {known.error:.4f}",
                f"{new.mean:.4f} ± {new.error:.4f}",
                f"{each.coverage:.3f}",
                f"{each.entropy:.2f}",
                f"{each.distance:.3f}",
            )
        )
    show_table(title, columns, rows)
