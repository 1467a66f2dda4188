"""docker-compose.yml, Dockerfile and what they name; no Docker engine is asked."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

from services.cli.main import app
from streams.settings import Settings
from tests.dockerfile import copied_from_context, lineage, read_dockerfile
from tests.promql import DASHBOARDS, alert_rules, expressions, selectors

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
STAGES = read_dockerfile(ROOT / "Dockerfile")
BUILT = {name: service for name, service in SERVICES.items() if "build" in service}
TARGETS = sorted({service["build"]["target"] for service in BUILT.values()})
SETTINGS_FILE = ROOT / "deploy/streamrec.env"
DOCS = ROOT / "docs/deployment.md"
OBSERVABILITY = ROOT / "deploy/observability"
PROMETHEUS = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
(SCRAPED,) = (found for job in PROMETHEUS["scrape_configs"] for found in job["dns_sd_configs"])
GRAFANA = OBSERVABILITY / "grafana"
(DATASOURCE,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
SCRAPED_PORT = SCRAPED["port"]
DURATION = re.compile(r"(\d+(ms|s|m|h))+")


def interpolate(text: str) -> str:
    """Return a text of the compose file as it is with no variable set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def published_ports(service: dict) -> list[tuple[str, str, str]]:
    return [tuple(interpolate(port).split(":")) for port in service.get("ports", ())]


def listeners(variable: str) -> dict[str, str]:
    """Return host:port by listener name."""
    text = interpolate(SERVICES["kafka"]["environment"][variable])
    return dict(listener.split("://") for listener in text.split(","))


def with_requirements(requirement: Requirement, seen: set[tuple[str, str]]) -> set[str]:
    """Return the names of a distribution and all it brings with it, as installed here."""
    names = {requirement.name.lower()}
    for extra in ("", *requirement.extras):
        if (requirement.name.lower(), extra) in seen:
            continue
        seen.add((requirement.name.lower(), extra))
        for line in importlib.metadata.requires(requirement.name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                names |= with_requirements(needed, seen)
    return names


def packages_of(extra: str) -> set[str]:
    """Return every package that the project's requirements with an extra bring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"][extra]]
    names: set[str] = set()
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            names |= with_requirements(requirement, set())
    return names


# docker-compose.yml


def test_the_compose_file_is_valid_by_the_compose_specifications_schema():
    schema = json.loads((ROOT / "tests/data/compose-spec.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(COMPOSE)] == []


def test_without_a_profile_there_are_kafka_redis_topics_worker_and_scorer():
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == {
        "kafka",
        "redis",
        "topics",
        "worker",
        "scorer",
    }


def test_each_profile_adds_what_it_is_for():
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {
        "scorer-gpu": ["gpu"],
        "trainer": ["trainer"],
        "seed": ["seed"],
        "loadtest": ["loadtest"],
        "prometheus": ["observability"],
        "grafana": ["observability"],
    }


def test_only_the_gpu_scorer_reserves_a_gpu():
    reserved = {
        name: service["deploy"]["resources"]["reservations"]["devices"]
        for name, service in SERVICES.items()
        if "deploy" in service
    }
    assert reserved == {"scorer-gpu": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]}


@pytest.mark.parametrize("name", sorted(BUILT))
def test_a_service_is_built_from_a_target_of_the_dockerfile_with_arguments_it_takes(name):
    build = SERVICES[name]["build"]
    assert build["context"] == "."
    taken = {
        argument.split("=")[0] for stage in lineage(STAGES, build["target"]) for argument in stage.arguments("ARG")
    }
    assert set(build.get("args", {})) == taken


@pytest.mark.parametrize("name", sorted(BUILT))
def test_a_service_runs_a_command_that_exists(name):
    command, _bound, _unparsed = app.parse_args(SERVICES[name]["command"], exit_on_error=False, print_error=False)[:3]
    assert command.__module__.startswith("services.cli.")


@pytest.mark.parametrize("name", sorted(BUILT))
def test_every_setting_of_a_service_is_one_of_streamrecs(name):
    environment = SERVICES[name]["environment"]
    assert {variable.removeprefix("STREAMREC_").lower() for variable in environment} <= set(Settings.model_fields)
    assert SERVICES[name]["env_file"] == SETTINGS_FILE.relative_to(ROOT).as_posix()


def test_the_settings_file_shows_settings_with_their_defaults():
    lines = [line for line in SETTINGS_FILE.read_text().splitlines() if re.match(r"#?\w+=", line)]
    assert lines
    for line in lines:
        variable, value = line.removeprefix("#").split("=", 1)
        assert str(Settings.model_fields[variable.removeprefix("STREAMREC_").lower()].default) == value, line


@pytest.mark.parametrize("name", sorted(BUILT))
def test_a_service_finds_kafka_and_redis_where_they_listen(name):
    environment = SERVICES[name]["environment"]
    assert environment["STREAMREC_BOOTSTRAP_SERVERS"] == listeners("KAFKA_ADVERTISED_LISTENERS")["INTERNAL"]
    assert urlsplit(environment["STREAMREC_REDIS_URL"]).netloc == "redis:6379"
    assert ("127.0.0.1", "6379", "6379") in published_ports(SERVICES["redis"])


def test_kafka_advertises_to_each_side_a_port_it_listens_on():
    bound, advertised = listeners("KAFKA_LISTENERS"), listeners("KAFKA_ADVERTISED_LISTENERS")
    kafka = SERVICES["kafka"]["environment"]
    assert set(advertised) == set(bound) - {kafka["KAFKA_CONTROLLER_LISTENER_NAMES"]}
    assert kafka["KAFKA_INTER_BROKER_LISTENER_NAME"] == "INTERNAL"
    assert set(bound) == {pair.split(":")[0] for pair in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")}
    assert advertised["INTERNAL"] == "kafka" + bound["INTERNAL"]
    assert kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"{kafka['KAFKA_NODE_ID']}@kafka{bound['CONTROLLER']}"
    ((_address, published, inside),) = published_ports(SERVICES["kafka"])
    assert (f"localhost:{published}", f":{inside}") == (advertised["HOST"], bound["HOST"])


def test_the_command_line_on_the_host_finds_both_without_a_setting():
    defaults = Settings.model_fields
    assert defaults["bootstrap_servers"].default == listeners("KAFKA_ADVERTISED_LISTENERS")["HOST"]
    assert urlsplit(defaults["redis_url"].default).port == int(published_ports(SERVICES["redis"])[0][1])


def test_ports_are_published_on_the_loopback_address_by_services_that_are_not_scaled():
    assert {name for name in SERVICES if published_ports(SERVICES[name])} == {"kafka", "redis", "prometheus", "grafana"}
    assert {port[0] for service in SERVICES.values() for port in published_ports(service)} == {"127.0.0.1"}
    assert not any("container_name" in service for service in SERVICES.values())


def test_volumes_are_declared_and_used():
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    files = {path for path in used if path.startswith("./")}
    assert used - files == set(COMPOSE["volumes"])
    assert {path for path in files if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("name", sorted(BUILT))
def test_models_are_kept_in_a_volume_that_belongs_to_the_images_user(name):
    folder = SERVICES[name]["environment"]["STREAMREC_MODEL_DIR"]
    assert f"models:{folder}" in SERVICES[name]["volumes"]
    base = " ".join(argument for _operation, argument in STAGES["base"].instructions)
    assert f"STREAMREC_MODEL_DIR={folder}" in base
    assert re.search(rf"install --directory --owner=streamrec [^&]*{folder}\b", base)


def test_what_a_service_waits_for_exists_without_a_profile_and_can_come_true():
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            assert "profiles" not in SERVICES[name]
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]
            else:
                assert (wait["condition"], SERVICES[name]["restart"]) == ("service_completed_successfully", "no")


def test_redis_keeps_everything_and_evicts_nothing():
    command = SERVICES["redis"]["command"]
    given = dict(zip(command[1::2], command[2::2], strict=True))
    assert given["--maxmemory-policy"] == "noeviction"
    assert (given["--appendonly"], given["--appendfsync"]) == ("yes", "everysec")
    assert "redis-data:/data" in SERVICES["redis"]["volumes"]


def test_durations_are_durations():
    checks = [service["healthcheck"] for service in SERVICES.values() if "healthcheck" in service]
    written = [check[key] for check in checks for key in ("interval", "timeout", "start_period")]
    written += [service["stop_grace_period"] for service in SERVICES.values() if "stop_grace_period" in service]
    assert [text for text in written if not DURATION.fullmatch(text)] == []


def test_every_variable_of_the_compose_file_has_a_default_and_is_documented():
    text = (ROOT / "docker-compose.yml").read_text()
    variables = set(re.findall(r"(?<!\$)\$\{?(\w+)", text))
    assert variables == set(re.findall(r"\$\{(\w+):-[^}]*\}", text))
    assert {variable for variable in variables if f"`{variable}`" not in DOCS.read_text()} == set()


def test_the_documentation_names_every_service_and_target():
    text = DOCS.read_text()
    assert {name for name in {*SERVICES, *TARGETS} if f"`{name}`" not in text} == set()


# deploy/observability


def test_prometheus_scrapes_the_services_that_serve_numbers_by_the_port_of_their_images():
    assert set(SCRAPED["names"]) == {"worker", "scorer", "scorer-gpu"} <= set(SERVICES)
    assert PROMETHEUS["rule_files"] == ["alerts.yml"]
    mounted = {volume.split(":")[1] for volume in SERVICES["prometheus"]["volumes"]}
    assert {"/etc/prometheus/prometheus.yml", "/etc/prometheus/alerts.yml"} <= mounted
    assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]


def test_every_alert_has_a_name_of_its_own_a_severity_and_says_what_to_do():
    rules = alert_rules()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"Streamrec[A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "action"}
        assert DURATION.fullmatch(rule.get("for", "1s"))


def test_every_alert_and_panel_is_valid_promql():
    assert len(expressions()) > len(alert_rules())
    assert [expression for expression in expressions() if not selectors(expression)] == []


def test_the_dashboard_is_one_that_grafana_can_place():
    (path,) = DASHBOARDS
    dashboard = json.loads(path.read_text())
    panels = dashboard["panels"]
    assert (dashboard["uid"], dashboard["schemaVersion"]) == ("streamrec", 39)
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["targets"]
            assert panel["datasource"] == {"type": "prometheus", "uid": DATASOURCE["uid"]}
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_grafana_finds_its_datasource_and_the_dashboard_where_they_are_mounted():
    (_address, _published, port) = published_ports(SERVICES["prometheus"])[0]
    assert (DATASOURCE["type"], DATASOURCE["url"]) == ("prometheus", f"http://prometheus:{port}")
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/streamrec.yml").read_text())["providers"]
    folder = provider["options"]["path"]
    assert f"./deploy/observability/grafana/dashboards:{folder}:ro" in SERVICES["grafana"]["volumes"]
    assert "./deploy/observability/grafana/provisioning:/etc/grafana/provisioning:ro" in SERVICES["grafana"]["volumes"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/{DASHBOARDS[0].name}"


# Dockerfile


def test_images_of_others_are_pinned_to_a_minor_version():
    images = [stage.parent for stage in STAGES.values() if stage.parent not in STAGES]
    images += [service["image"] for service in SERVICES.values() if "build" not in service]
    assert [image for image in images if not re.fullmatch(r"[a-z]+(/[a-z]+)?:v?\d+\.\d+[\w.-]*", image)] == []


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_streamrec_as_another_user_than_root(target):
    stages = lineage(STAGES, target)
    assert STAGES[target].arguments("USER") == ["10001:10001"]
    assert "--uid 10001 --gid streamrec" in " ".join(STAGES["base"].arguments("RUN"))
    assert [stage.name for stage in stages if stage.arguments("ENTRYPOINT")] == ["base"]
    assert STAGES["base"].words("ENTRYPOINT") == ["streamrec"]
    assert "PYTHONUNBUFFERED=1" in " ".join(STAGES["base"].arguments("ENV"))


def test_the_entry_point_is_a_script_of_the_project():
    assert "streamrec" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.mark.parametrize(("target", "role"), [("worker", "worker"), ("scorer", "scorer"), ("scorer-gpu", "scorer")])
def test_a_long_running_image_runs_its_role_and_checks_its_health(target, role):
    stage = STAGES[target]
    assert stage.words("CMD") == [role]
    assert stage.words("HEALTHCHECK") == ["python", "/opt/streamrec/health.py"]
    assert stage.arguments("ENV") == [f"STREAMREC_METRICS_HOST=0.0.0.0 STREAMREC_METRICS_PORT={SCRAPED_PORT}"]
    assert "deploy/health.py /opt/streamrec/health.py" in stage.arguments("COPY")


def test_only_the_tools_for_one_command_have_no_health_check():
    assert {name for name in TARGETS if not STAGES[name].arguments("HEALTHCHECK")} == {"tools", "trainer", "loadtest"}


def test_every_installation_takes_the_versions_of_the_constraints():
    runs = [argument for stage in STAGES.values() for argument in stage.arguments("RUN")]
    installs = [step for run in runs for step in run.split("&&") if "pip install" in step]
    assert len(installs) > len(TARGETS)
    assert [step for step in installs if not re.search(r"--constraint (/)?constraints\.txt", step)] == []


def test_no_image_asks_another_index_than_the_default_one_unless_told_to():
    text = (ROOT / "Dockerfile").read_text()
    assert "://" not in text
    assert {argument for stage in STAGES.values() for argument in stage.arguments("ARG")} == {
        "TORCH_INDEX_URL=",
        "TORCH_GPU_INDEX_URL=",
    }


@pytest.mark.parametrize("target", ["worker", "scorer", "trainer", "loadtest"])
def test_an_image_installs_the_extra_of_its_name(target):
    assert f'"$1[{target}]"' in " ".join(STAGES[target].arguments("RUN"))
    assert target in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_the_worker_brings_faust_but_no_torch():
    names = packages_of("worker")
    assert {"faust-streaming", "aiokafka", "redis"} <= names
    assert not {name for name in names if name.startswith(("torch", "nvidia", "triton"))}
    assert "torch" in packages_of("scorer")
    assert [stage.name for stage in lineage(STAGES, "worker")] == ["base", "worker"]


def test_what_the_dockerfile_copies_exists_and_is_sent_to_the_engine():
    copied = copied_from_context(STAGES)
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert patterns[0] == "*"
    assert copied == {line[1:] for line in patterns if line.startswith("!")}
    assert {path for path in copied if not (ROOT / path).exists()} == set()


def test_the_dockerfiles_stages_come_in_order():
    seen: list[str] = []
    for stage in STAGES.values():
        used = re.findall(r"(?:--from|,from)=(\w+)", " ".join(argument for _op, argument in stage.instructions))
        assert set(used) <= set(seen)
        assert stage.parent in seen or ":" in stage.parent
        seen.append(stage.name)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, built as the stage ``wheel`` does from what it copies."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in copied_from_context({"wheel": STAGES["wheel"]}):
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, folder / path, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / path, folder / path)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--no-index", "--wheel-dir", folder / "wheels", folder], check=True)
    (built,) = (folder / "wheels").iterdir()
    with zipfile.ZipFile(built) as opened:
        yield opened


def test_the_wheel_holds_every_file_of_the_four_packages_and_nothing_else(wheel):
    packages = ("schemas", "recommender", "streams", "services")
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    there = {
        path.relative_to(ROOT).as_posix()
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files == there
    assert {"streams/store/lua/commit.lua"} | {f"{package}/py.typed" for package in packages} <= files


def test_the_wheel_brings_the_command(wheel):
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "streamrec = services.cli.main:main" in wheel.read(entry_points).decode()
