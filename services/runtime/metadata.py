"""Ask a Kafka broker who it is."""

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from services.runtime.ports import HOST, accepts

_TIMEOUT_MS = 3_000


def cluster_id_of(port: int) -> str | None:
    """Return the cluster id that the broker on a port of this machine gives, None while none answers.

    The answer counts only when it names a live broker, which Apache Kafka does once it has left its fenced state.
    """
    if not accepts(port):
        return None
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=f"{HOST}:{port}", bootstrap_timeout_ms=_TIMEOUT_MS, request_timeout_ms=_TIMEOUT_MS
        )
    except (KafkaError, OSError):
        return None
    try:
        cluster = admin.describe_cluster()
    except (KafkaError, OSError):
        return None
    finally:
        admin.close()
    is_live = any(not broker.get("is_fenced") for broker in cluster["brokers"])
    return str(cluster["cluster_id"]) if is_live else None
