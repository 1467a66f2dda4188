"""Every error streamrec raises, in one tree.

    StreamrecError
    ├── EventError          a record's bytes break the contract; it is dead-lettered, retrying never helps
    ├── RequestError        a readable request asks for what cannot be given; it is answered with the error's code
    ├── ConfigurationError  settings contradict one another or the servers; the process refuses to start
    ├── DataError           a file or data set of the user's cannot be read; nothing was published
    ├── PolicyError         a policy of the user's own failed, or picked what was not offered
    ├── CatalogueError      an item cannot join the catalogue (two ids share a hash)
    ├── LedgerError         a stored ledger's bytes cannot be read (another version, a wrong length)
    ├── ModelError          a release cannot be fetched, checked or loaded; the live model stays
    ├── ModelUnavailable    a policy needs a model that no release gave yet; asking again after a release helps
    ├── EngineError         an embedded server did not start, or a supervised process ended by itself
    ├── BusUnavailable      the broker did not answer; retrying helps
    ├── StoreUnavailable    the store did not answer: the outcome of the call is unknown; retrying helps
    ├── Refusal             the store refused a commit and wrote nothing
    │   ├── Fenced              another worker took the partition; give it up
    │   ├── OffsetMoved         the watermark is not the expected one; begin a new session
    │   ├── GenerationChanged   the state's generation was flipped; begin a new session
    │   └── RevisionConflict    some users' ledgers changed since they were read; read them again and retry
    └── Halt                state and log contradict one another; the worker stops (exit code 3), naming the numbers
        ├── EventsLost          the log starts after the watermark (retention removed events that were not applied)
        ├── LogTooShort         the log ends before the watermark
        ├── TopicReplaced       the topic's id is not the state's
        ├── StateMissing        the group has committed offsets, the store has no watermark (a flushed store)
        ├── StateMismatch       another rating scale or number of shards than the state's
        ├── BreakerOpen         too many of a partition's newest events break the contract (a bad deploy?)
        └── PartitionLost       fenced three times in a row

A wrong argument is a built-in ``ValueError`` or ``TypeError``.
"""

from collections.abc import Sequence


class StreamrecError(Exception):
    """The root of the tree; ``retryable`` tells whether trying the same call again may help."""

    retryable = False


class EventError(StreamrecError):
    """A record's bytes break the contract.

    Attributes:
        reason: one of :data:`schemas.events.DEAD_LETTER_REASONS`.
        message: a sentence with the value and the allowed range.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class RequestError(StreamrecError):
    """A readable request asks for what cannot be given.

    Attributes:
        code: one of :data:`schemas.events.ERROR_CODES`.
        message: a sentence with the value and the allowed range.
        request_id: the request's id.
        user_id: the request's user.
    """

    def __init__(self, code: str, message: str, *, request_id: str, user_id: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.request_id = request_id
        self.user_id = user_id


class ConfigurationError(StreamrecError):
    """Settings contradict one another or the servers."""


class DataError(StreamrecError):
    """A file or data set of the user's cannot be read."""


class PolicyError(StreamrecError):
    """A policy of the user's own failed, or picked what was not offered; the experiment ends."""


class CatalogueError(StreamrecError):
    """An item cannot join the catalogue."""


class LedgerError(StreamrecError):
    """A stored ledger's bytes cannot be read."""


class ModelError(StreamrecError):
    """A release cannot be fetched, checked or loaded."""


class ModelUnavailable(StreamrecError):  # noqa: N818 - the contract's own word
    """A policy needs a model that no release gave yet."""

    retryable = True


class EngineError(StreamrecError):
    """An embedded server did not start, or a supervised process ended by itself."""


class BusUnavailable(StreamrecError):  # noqa: N818 - the pair of StoreUnavailable
    """The broker did not answer."""

    retryable = True


class StoreUnavailable(StreamrecError):  # noqa: N818 - the protocol's own word
    """The store did not answer, so the outcome of the call is unknown."""

    retryable = True


class Refusal(StreamrecError):  # noqa: N818 - the protocol's own word
    """The store refused a commit and wrote nothing."""


class Fenced(Refusal):
    """Another worker took the partition."""


class OffsetMoved(Refusal):
    """The watermark is not the expected one."""

    retryable = True


class GenerationChanged(Refusal):
    """The state's generation was flipped."""

    retryable = True


class RevisionConflict(Refusal):
    """Some users' ledgers, or what is known to be redriven or forgotten, changed since they were read.

    Attributes:
        indexes: positions of those users in the commit's list; none when a redriven or forget event was applied
            meanwhile.
    """

    retryable = True

    def __init__(self, indexes: Sequence[int]) -> None:
        what = f"{len(indexes)} ledgers" if indexes else "what is redriven or forgotten"
        super().__init__(f"{what} changed since they were read")
        self.indexes = tuple(indexes)


class Halt(StreamrecError):  # noqa: N818 - the protocol's own word
    """State and log contradict one another; the worker stops with exit code 3."""


class EventsLost(Halt):
    """The log starts after the watermark."""


class LogTooShort(Halt):
    """The log ends before the watermark."""


class TopicReplaced(Halt):
    """The topic's id is not the state's."""


class StateMissing(Halt):
    """The group has committed offsets, the store has no watermark."""


class StateMismatch(Halt):
    """Another rating scale or number of shards than the state's."""


class BreakerOpen(Halt):
    """Too many of a partition's newest events break the contract; they are not dead-lettered until told so."""


class PartitionLost(Halt):
    """Fenced three times in a row."""
