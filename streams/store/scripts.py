"""The scripts, and what their replies mean."""

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

from schemas.errors import Fenced, GenerationChanged, OffsetMoved, RevisionConflict, StateMismatch, TopicReplaced


class Script:
    """One Lua script and the SHA-1 Redis knows it by.

    Args:
        name: of its file.
        after: files whose text comes before it.
    """

    def __init__(self, name: str, after: Sequence[str] = ()) -> None:
        self.name = name
        texts = files("streams.store").joinpath("lua")
        self.body = "".join(texts.joinpath(f"{part}.lua").read_text() for part in (*after, name))
        self.sha = sha1(self.body.encode()).hexdigest()  # noqa: S324 - Redis names scripts by SHA-1


ASSIGN = Script("assign")
READ = Script("read")
COMMIT = Script("commit", after=("held", "changes"))
FORGET = Script("forget", after=("held", "changes"))
BREAKER = Script("breaker", after=("held",))
STATISTICS = Script("statistics")
LOOK = Script("look")
FLIP = Script("flip")
SCAN = Script("scan")
IDLE = Script("idle")


def check_reply(reply: Sequence[Any]) -> Sequence[Any]:
    """Return what follows OK in a script's reply.

    Raises:
        Refusal: the store refused; each refusal has its class.
        Halt: the state was made with another scale or from another topic.
    """
    status, rest = reply[0], reply[1:]
    if status == b"OK":
        return rest
    shown = rest[0].decode() if rest and isinstance(rest[0], bytes) else ""
    match status:
        case b"FENCED":
            raise Fenced(f"another worker holds the partition, at fence {shown}")
        case b"OFFSET":
            raise OffsetMoved(f"the watermark is at {shown or 'nothing'}")
        case b"GEN":
            raise GenerationChanged(f"the live generation is {shown or 'another'}")
        case b"REV":
            raise RevisionConflict(rest)
        case b"SCALE":
            raise StateMismatch(f"the state was made with {shown}")
        case b"TOPIC":
            raise TopicReplaced(f"the state was made from the topic with id {shown}")
        case _:
            raise ValueError(f"unknown reply {status!r} of a script")
