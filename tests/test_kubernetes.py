"""The manifests of deploy/kubernetes and what they name; no cluster is asked."""

from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from services.cli.main import app
from streams.settings import Settings
from tests.dockerfile import read_dockerfile
from tests.integration.system import STOP_S

ROOT = Path(__file__).parents[1]
BASE = ROOT / "deploy/kubernetes"
KUSTOMIZATION = yaml.safe_load((BASE / "kustomization.yaml").read_text())
FILES = [BASE / name for name in KUSTOMIZATION["resources"]]
OBJECTS = [each for file in FILES for each in yaml.safe_load_all(file.read_text())]
STAGES = read_dockerfile(ROOT / "Dockerfile")
SECRET = "streamrec"
ROLES = ("worker", "scorer")

# KEDA's own schema is not at hand: what a ScaledObject of keda.sh/v1alpha1 may say, as far as it is used here.
SCALED_OBJECT = {
    "type": "object",
    "required": ["scaleTargetRef", "triggers"],
    "additionalProperties": False,
    "properties": {
        "scaleTargetRef": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {name: {"type": "string"} for name in ("apiVersion", "kind", "name")},
        },
        "pollingInterval": {"type": "integer"},
        "cooldownPeriod": {"type": "integer"},
        "minReplicaCount": {"type": "integer"},
        "maxReplicaCount": {"type": "integer"},
        "advanced": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "horizontalPodAutoscalerConfig": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"behavior": {"type": "object"}},
                }
            },
        },
        "triggers": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["type", "metadata"],
                "additionalProperties": False,
                "properties": {
                    "type": {"const": "kafka"},
                    "metadata": {
                        "type": "object",
                        "required": ["bootstrapServersFromEnv", "consumerGroup", "topic", "lagThreshold"],
                        "additionalProperties": False,
                        "properties": {
                            **{name: {"type": "string"} for name in ("bootstrapServersFromEnv", "consumerGroup")},
                            "topic": {"type": "string"},
                            "lagThreshold": {"type": "string", "pattern": "^[1-9][0-9]*$"},
                            "offsetResetPolicy": {"enum": ["earliest", "latest"]},
                        },
                    },
                },
            },
        },
    },
}


def of_kind(kind):
    return {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] == kind}


DEPLOYMENTS, SCALED = of_kind("Deployment"), of_kind("ScaledObject")
TEMPLATES = {name: each["spec"]["template"] for name, each in (DEPLOYMENTS | of_kind("Job")).items()}
VALUES = of_kind("ConfigMap")["streamrec"]["data"]


def container_of(name):
    (container,) = TEMPLATES[name]["spec"]["containers"]
    return container


def settings():
    """The settings that the ConfigMap makes."""
    names = {name.removeprefix("STREAMREC_").lower(): value for name, value in VALUES.items()}
    assert set(names) <= set(Settings.model_fields)
    return Settings(**names)


@pytest.mark.parametrize("manifest", OBJECTS, ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_every_manifest_is_valid_by_the_schema_of_its_kind(manifest):
    if manifest["apiVersion"].startswith("keda.sh/"):
        jsonschema.validate(manifest["spec"], SCALED_OBJECT)
        config = manifest["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
        target = {"apiVersion": "apps/v1", "kind": "Deployment", **manifest["spec"]["scaleTargetRef"]}
        limits = {
            "minReplicas": manifest["spec"]["minReplicaCount"],
            "maxReplicas": manifest["spec"]["maxReplicaCount"],
        }
        manifest = {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": manifest["metadata"]["name"]},
            "spec": {"scaleTargetRef": target, **limits, **config},
        }
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_field_is_seen():
    broken = yaml.safe_load((BASE / "worker.yaml").read_text())
    broken["spec"]["template"]["spec"]["terminationGracePeriod"] = 20
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_the_kustomization_names_every_file_once_and_nothing_else():
    assert sorted(file.name for file in FILES) == sorted(
        file.name for file in BASE.iterdir() if file.name != "kustomization.yaml"
    )
    assert set(KUSTOMIZATION) == {"apiVersion", "kind", "namespace", "labels", "resources", "images"}
    assert list(of_kind("Namespace")) == [KUSTOMIZATION["namespace"]]
    assert not [each for each in OBJECTS if "namespace" in each["metadata"]]


def test_its_images_are_those_of_the_containers_and_targets_of_the_dockerfile():
    images = {image["name"] for image in KUSTOMIZATION["images"]}
    assert images == {container_of(name)["image"] for name in TEMPLATES}
    assert {image.removeprefix("streamrec-") for image in images} <= set(STAGES)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_reference_of_a_pod_is_to_something_there(name):
    container, spec = container_of(name), TEMPLATES[name]["spec"]
    for source in container["envFrom"]:
        if "configMapRef" in source:
            assert source["configMapRef"]["name"] in of_kind("ConfigMap")
        else:
            assert source["secretRef"] == {"name": SECRET, "optional": True}
    claims = [volume["persistentVolumeClaim"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
    assert {claim["claimName"] for claim in claims} <= set(of_kind("PersistentVolumeClaim"))
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_command_is_one_of_the_command_line(name):
    chain, _, rest = app.parse_commands(container_of(name)["args"])
    assert (list(chain), rest) == (container_of(name)["args"], [])


@pytest.mark.parametrize("name", TEMPLATES)
def test_pods_run_as_the_images_user_and_may_do_nothing(name):
    spec, own = TEMPLATES[name]["spec"], container_of(name)["securityContext"]
    stage = STAGES[container_of(name)["image"].removeprefix("streamrec-")]
    ids = spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]
    assert stage.arguments("USER") == ["{}:{}".format(*ids)]
    assert spec["securityContext"]["runAsNonRoot"]
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_settings_are_valid_and_the_models_lie_where_they_are_mounted():
    found = settings()
    assert found.model_dir == VALUES["STREAMREC_MODEL_DIR"]
    for name in DEPLOYMENTS:
        (mount,) = [each for each in container_of(name)["volumeMounts"] if each["name"] == "models"]
        assert mount["mountPath"] == found.model_dir


@pytest.mark.parametrize("role", ROLES)
def test_probes_ask_the_endpoint_that_the_settings_open(role):
    container = container_of(f"streamrec-{role}")
    (port,) = container["ports"]
    assert (str(port["containerPort"]), VALUES["STREAMREC_METRICS_HOST"]) == (
        VALUES["STREAMREC_METRICS_PORT"],
        "0.0.0.0",
    )
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in asked.values()} == {port["name"]}
    assert [probe["path"] for probe in asked.values()] == ["/livez", "/livez", "/readyz"]


@pytest.mark.parametrize("role", ROLES)
def test_a_process_has_the_time_that_it_takes_to_stop(role):
    assert TEMPLATES[f"streamrec-{role}"]["spec"]["terminationGracePeriodSeconds"] > STOP_S


@pytest.mark.parametrize("role", ROLES)
def test_it_is_scaled_by_its_own_groups_lag_up_to_the_partitions(role):
    found, name = settings(), f"streamrec-{role}"
    spec = SCALED[name]["spec"]
    assert spec["scaleTargetRef"]["name"] == name
    (trigger,) = spec["triggers"]
    group, topic = {"worker": (found.group_worker, "ratings"), "scorer": (found.group_scorer, "requests")}[role]
    assert (trigger["metadata"]["consumerGroup"], trigger["metadata"]["topic"]) == (group, found.topic(topic))
    assert trigger["metadata"]["bootstrapServersFromEnv"] in VALUES
    assert spec["minReplicaCount"] <= spec["maxReplicaCount"] == found.partitions
    assert "replicas" not in DEPLOYMENTS[name]["spec"]


@pytest.mark.parametrize("role", ROLES)
def test_selectors_choose_the_pods_of_their_deployment_alone(role):
    name = f"streamrec-{role}"
    labels = TEMPLATES[name]["metadata"]["labels"]
    selectors = [
        DEPLOYMENTS[name]["spec"]["selector"],
        of_kind("PodDisruptionBudget")[name]["spec"]["selector"],
        *(each["labelSelector"] for each in TEMPLATES[name]["spec"]["topologySpreadConstraints"]),
    ]
    assert [each["matchLabels"] for each in selectors] == [labels] * len(selectors)
    assert [other for other, each in TEMPLATES.items() if each["metadata"]["labels"] == labels] == [name]
