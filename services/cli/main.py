"""The command `streamrec`. Commands are named here and imported when they run, so that a small one starts fast."""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console

from schemas.errors import ConfigurationError, Halt, StreamrecError
from services.cli.flags import SETTINGS_GROUP, SettingsFlags, settings_of
from streams.bus.dead_letters import CODE_VERSION
from streams.logs import configure_logs

FAILURE_EXIT_CODE = 1
CONFIGURATION_EXIT_CODE = 2
HALT_EXIT_CODE = 3

app = App(
    name="streamrec",
    help="An online streaming recommender: ratings in on Kafka, recommendations out on a topic.",
    version=CODE_VERSION,
)
_topics = App(name="topics", help="Make and check the topics of the contract.")
_catalog = App(name="catalog", help="Put items on the bus.")
_replay = App(name="replay", help="Put a log of ratings on the bus.")
_train = App(name="train", help="Train and release a model.")
_dlq = App(name="dlq", help="Look at dead letters, and send them again.")
_state = App(name="state", help="Look at the state, or make it anew.")
_schema = App(name="schema", help="What is said on the bus, for other languages.")
for _group in (_topics, _catalog, _replay, _train, _state, _dlq, _schema):
    app.command(_group)

_COMMANDS = (
    (app, "demo", "services.cli.processes:demo", "Everything embedded, on real data, shown live."),
    (app, "up", "services.cli.processes:up", "Run a broker and a store for this machine, in the foreground."),
    (_topics, "create", "services.cli.topics:create", "Make the topics that are missing."),
    (_topics, "check", "services.cli.topics:check", "Compare the topics with the contract."),
    (app, "worker", "services.cli.processes:worker", "Apply ratings to the state."),
    (app, "scorer", "services.cli.processes:scorer", "Answer requests for recommendations."),
    (_catalog, "load", "services.cli.catalog:load", "Publish the items of a file or data set."),
    (_replay, "ratings", "services.cli.replay:ratings", "Publish the ratings of a file or data set."),
    (_train, "autoencoder", "services.cli.train:autoencoder", "Train item embeddings with an autoencoder."),
    (_train, "pca", "services.cli.train:pca", "Make item embeddings by principal components; needs no torch."),
    (
        _train,
        "sequence",
        "services.cli.train_sequence:sequence",
        "Train what foretells the next item on the log of ratings.",
    ),
    (_train, "ddpg", "services.cli.train_actor:ddpg", "Train an actor and its critic on the log of ratings."),
    (_train, "td3", "services.cli.train_actor:td3", "Train an actor and twin critics on the log of ratings."),
    (
        _train,
        "reinforce",
        "services.cli.train_actor:reinforce",
        "Train a policy over items by REINFORCE on the log of ratings.",
    ),
    (_train, "bcq", "services.cli.train_actor:bcq", "Train critics of what the log of ratings might have shown."),
    (_train, "qlearning", "services.cli.train_actor:qlearning", "Train values of items by Q-learning on the log."),
    (_train, "sarsa", "services.cli.train_actor:sarsa", "Train values of items by SARSA on the log of ratings."),
    (_train, "factors", "services.cli.train_factors:factors", "Train the model of linear on ratings; needs no torch."),
    (app, "simulate", "services.cli.simulate:simulate", "Run the bandit off line on a log of ratings."),
    (app, "evaluate", "services.cli.evaluate:evaluate", "Measure policies off line, by the code that serves."),
    (app, "loadtest", "services.cli.loadtest:loadtest", "Put a system under load on a schedule, and measure it."),
    (app, "recommend", "services.cli.recommend:recommend", "Ask for recommendations for a user."),
    (app, "explain", "services.cli.recommend:explain", "Show the arithmetic of an item's score for a user."),
    (app, "rank", "services.cli.rank:rank", "Rank items by distance from what a trained actor says; needs no bus."),
    (app, "rate", "services.cli.rate:rate", "Send one rating."),
    (app, "forget", "services.cli.forget:forget", "Have a user forgotten; say what was removed and what cannot be."),
    (app, "validate", "services.cli.validate:validate", "Check ratings of a file or topic; nothing is published."),
    (app, "top", "services.cli.top:top", "Show how running workers and scorers do, live."),
    (app, "doctor", "services.cli.doctor:doctor", "Say what is wrong, and what to do."),
    (_state, "show", "services.cli.state:show", "Show what the state has of a user, now or at a moment of the log."),
    (_state, "digest", "services.cli.state:digest", "Print the digests of a state at rest."),
    (_state, "export", "services.cli.state:export", "Write the state as parquet."),
    (_state, "rebuild", "services.cli.rebuild:rebuild", "Make the state anew from the log, and flip it in."),
    (_state, "drop-generation", "services.cli.rebuild:drop_generation", "Remove what a rebuild has replaced."),
    (_dlq, "list", "services.cli.dlq:list_letters", "Show the dead letters: counts by reason, and the newest."),
    (_dlq, "show", "services.cli.dlq:show", "Show one dead letter, its headers and its bytes."),
    (_dlq, "redrive", "services.cli.dlq:redrive", "Send dead letters that are valid now to their topic again."),
    (_schema, "export", "services.cli.schema:export", "Write JSON Schema of every event and an AsyncAPI document."),
)
for _parent, _name, _target, _help in _COMMANDS:
    _parent.command(_target, name=_name, help=_help)


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    flags: Annotated[SettingsFlags | None, Parameter(name="*", group=SETTINGS_GROUP)] = None,  # type: ignore[valid-type]
    debug: Annotated[bool, Parameter(negative="", help="tracebacks, and every log line", group=SETTINGS_GROUP)] = False,
) -> int:
    """Run the command that ``tokens`` name, with the settings it asks for; return its exit code."""
    configure_logs("DEBUG" if debug else "WARNING")
    if not debug:  # what the client complains of while it tries, our own error says in one line
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
    command, bound, unparsed = app.parse_args(tokens)
    try:
        if "settings" in unparsed:
            bound.arguments["settings"] = settings_of(flags)
        return _exit_code(command(*bound.args, **bound.kwargs))
    except StreamrecError as error:
        if debug:
            raise
        Console(stderr=True).print(f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        return exit_code_of(error)


def exit_code_of(error: StreamrecError) -> int:
    """Return the exit code that an error ends a command with.

    >>> exit_code_of(ConfigurationError("no broker"))
    2
    """
    if isinstance(error, Halt):
        return HALT_EXIT_CODE
    return CONFIGURATION_EXIT_CODE if isinstance(error, ConfigurationError) else FAILURE_EXIT_CODE


def _exit_code(result: Any) -> int:
    return result if isinstance(result, int) else 0


def main(tokens: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or settings, 3 halted."""
    # OpenMP reads it where torch is loaded: threads that wait for one another then sleep. By default they spin, and
    # where another process wants the processor, each wait lasts until the scheduler takes it away.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(_exit_code(app.meta(tokens, result_action="return_value")))


if __name__ == "__main__":
    main()
