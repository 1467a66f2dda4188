"""The next-item protocol of ``streamrec evaluate``: run, and said in figures, a table and bars."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recommender.ranking.measures import Estimate, Report, compare
from recommender.rl.training import ActorStep
from recommender.sequence.training import SequenceLoss, SequenceSettings
from schemas.errors import ConfigurationError
from services.lab import evaluation
from services.lab.baselines import BASELINES
from services.lab.datasets import rating_events
from services.lab.evaluation import Bars, SheetTable, Task
from services.lab.next_item import Ranked, gather_log, rank
from services.lab.rankers import Trainings, policy_rankers

MEASURES = ("ndcg@10", "hit@10", "mrr")


def evaluate_next_item(task: Task) -> evaluation.Report:
    """Return how well policies and baselines rank the next item, in figures ``ranking``, ``baselines``, ``next_item``.

    Raises:
        ConfigurationError: a policy does not rank or is unknown, or what a baseline needs is not installed.
    """
    log, items = gather_log(rating_events(task.ratings), task.items)
    baselines = [name for name, baseline in BASELINES.items() if baseline.is_installed]
    done, total = 0, len(task.policies) + 2 * len(baselines)

    def on_ranker(name: str) -> None:
        nonlocal done
        task.on_progress(name, done, total)
        done += 1

    def on_epoch(loss: SequenceLoss) -> None:
        task.on_progress(f"sequence: epoch {loss.epoch}, validation {loss.validation:.4f}", done, total)

    def on_step(step: ActorStep) -> None:
        if step.ndcg is not None:
            task.on_progress(f"{step.phase}: step {step.step}, held-out NDCG@10 {step.ndcg:.4f}", done, total)

    trainings = Trainings(task.factors, SequenceSettings(), on_epoch, task.actor, on_step, task.scale)
    makers = policy_rankers(task.policies, items, task.vectors_of, task.settings, trainings)
    try:
        ranked = rank(log, items, makers, baselines, on_ranker)
    except ValueError as error:
        raise ConfigurationError(f"the log cannot be cut: {error}") from error
    figures = summarise(ranked)
    figures["left_out"] = {
        name: f"{baseline.needs} is not installed" for name, baseline in BASELINES.items() if not baseline.is_installed
    }
    faults = {name: task.limits.fault_of(ranked.reports[name].diversity) for name in ranked.policies}
    figures["collapsed"] = {name: fault for name, fault in faults.items() if fault is not None}
    return evaluation.Report(figures, tables=[_table(ranked)], bars=_bars(ranked))


def summarise(ranked: Ranked) -> dict[str, Any]:
    """Return ``ranking`` and ``baselines`` as JSON can say them; an unknown number is None."""
    groups: dict[str, dict[str, Any]] = {"ranking": {}, "baselines": {}}
    for name, each in ranked.reports.items():
        group = "ranking" if name in ranked.policies else "baselines"
        groups[group][name] = _describe(each)
        if ranked.parameters.get(name):
            groups[group][name]["parameters"] = dict(ranked.parameters[name])
    best = ranked.best_baseline
    for name in ranked.policies if best is not None else ():
        assert best is not None
        difference = compare(ranked.predictions[name], ranked.predictions[best])
        ratio = ranked.reports[name].everyone["ndcg@10"].mean / ranked.reports[best].everyone["ndcg@10"].mean
        groups["ranking"][name]["against_best"] = {
            "baseline": best,
            "ratio": _number(ratio),
            "difference": _number(difference.mean),
            "error": _number(difference.error),
        }
    about = {"cut": ranked.cut, "events": ranked.events}
    return {**groups, "next_item": about}


def _describe(each: Report) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for measure in MEASURES:
        said[measure] = _number(each.everyone[measure].mean)
    said["coverage"] = _number(each.diversity.coverage)
    said["error"] = {measure: _number(each.everyone[measure].error) for measure in MEASURES}
    said["with_history"] = _estimates(each.known)
    said["without_history"] = _estimates(each.new)
    said["entropy"] = _number(each.diversity.entropy)
    said["intra_list_distance"] = _number(each.diversity.intra_list_distance)
    said["predictions"], said["users"] = each.predictions, each.users
    return said


def _estimates(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    found: dict[str, Any] = {measure: _number(estimates[measure].mean) for measure in MEASURES}
    found["error"] = {measure: _number(estimates[measure].error) for measure in MEASURES}
    return found


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _table(ranked: Ranked) -> SheetTable:
    title = (
        f"next item: before each of {ranked.events - ranked.cut:,} events after the first {ranked.cut:,}; "
        "± a standard error over users; * a baseline"
    )
    header = ("", "NDCG@10", "hit@10", "MRR", "with history", "without", "coverage", "entropy", "distance")
    rows = []
    for name, each in _best_first(ranked):
        measures = [each.everyone["ndcg@10"], each.known["ndcg@10"], each.new["ndcg@10"]]
        ndcg, known, new = (f"{estimate.mean:.4f} ± {estimate.error:.4f}" for estimate in measures)
        rows.append(
            (
                name if name in ranked.policies else f"{name} *",
                ndcg,
                f"{each.everyone['hit@10'].mean:.4f}",
                f"{each.everyone['mrr'].mean:.4f}",
                known,
                new,
                f"{each.diversity.coverage:.3f}",
                f"{each.diversity.entropy:.2f}",
                f"{each.diversity.intra_list_distance:.3f}",
            )
        )
    return SheetTable(title, header, rows)


def _bars(ranked: Ranked) -> list[Bars]:
    best_first = _best_first(ranked)
    ndcg = {name: each.everyone["ndcg@10"] for name, each in best_first}
    return [
        Bars(
            "next item: NDCG@10, ± a standard error over users",
            {name: estimate.mean for name, estimate in ndcg.items()},
            {name: estimate.error for name, estimate in ndcg.items()},
        ),
        Bars("next item: share of the catalogue shown", {name: each.diversity.coverage for name, each in best_first}),
    ]


def _best_first(ranked: Ranked) -> Sequence[tuple[str, Report]]:
    return sorted(ranked.reports.items(), key=lambda pair: -pair[1].everyone["ndcg@10"].mean)
