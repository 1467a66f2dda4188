"""Topics compared with the contract's table."""

from collections.abc import Mapping
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from schemas.topics import TOPICS, TopicSpec
from services.admin.findings import Finding, Status
from streams.bus.topics import TopicInfo, describe_topics
from streams.settings import Settings

Config = Mapping[str, str]

MISSING_REMEDY = "run `streamrec topics create`"
_LOSES_STATE = ("ratings", "items", "models", "requests", "recommendations")


def check_topics(admin: Any, settings: Settings) -> list[Finding]:
    """Return one finding a topic: whether it exists, its partitions, cleanup policy and retention.

    A broker that keeps no topic configuration, or does not tell it, is said to: that is no fault of the topic's.
    """
    names = {settings.topic(role): spec for role, spec in TOPICS.items()}
    present = describe_topics(admin, list(names))
    configs = _read_configs(admin, list(present))
    return [_check(name, spec, present.get(name), configs.get(name), settings) for name, spec in names.items()]


def _read_configs(admin: Any, names: list[str]) -> dict[str, Config]:
    """Return the configuration of each topic that the broker keeps one of."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        found = admin.describe_configs(resources, config_filter="all").get("topic", {})
    except KafkaError:  # not allowed to, or a broker that does not know the call
        return {}
    return {name: {key: str(entry["value"]) for key, entry in found[name].items()} for name in names if found.get(name)}


def _check(name: str, spec: TopicSpec, info: TopicInfo | None, config: Config | None, settings: Settings) -> Finding:
    check = f"topic {name}"
    if info is None:
        return Finding(check, "fail", "does not exist", MISSING_REMEDY)
    size = f"{info.partitions} partition{'s' if info.partitions != 1 else ''}"
    if config is None or "cleanup.policy" not in config:
        return Finding(check, "ok", f"{size}; the broker tells no topic configuration that could be compared")
    status: Status = "ok"
    faults, remedies = [], []
    policy = config["cleanup.policy"]
    if policy != spec.cleanup:
        status = "fail" if spec.role in _LOSES_STATE else "warn"
        faults.append(f"cleanup.policy is {policy}, the contract has {spec.cleanup}")
        remedies.append(f"cleanup.policy={spec.cleanup}")
    for key, value in _wanted_retention(spec).items():
        if config.get(key, value) != value:
            status = "warn" if status == "ok" else status
            faults.append(f"{key} is {config[key]}, the contract has {value}")
            remedies.append(f"{key}={value}")
    if settings.replication > 1 and config.get("min.insync.replicas", "1") == "1":
        status = "warn" if status == "ok" else status
        faults.append(f"min.insync.replicas is 1 with {settings.replication} replicas, the contract has 2")
        remedies.append("min.insync.replicas=2")
    if info.partitions != settings.partitions:
        faults.append(f"the setting `partitions` is {settings.partitions}, which is for new topics only")
    remedy = f"set {', '.join(remedies)} with kafka-configs" if remedies else ""
    return Finding(check, status, "; ".join([size, *(faults or [f"{policy}, as the contract has it"])]), remedy)


def _wanted_retention(spec: TopicSpec) -> dict[str, str]:
    """Return the limits a topic must have; a log that state is rebuilt from has none."""
    if spec.retention_ms is None:
        return {}
    wanted = {"retention.ms": str(spec.retention_ms)}
    if spec.retention_ms < 0:
        wanted["retention.bytes"] = "-1"
    return wanted
