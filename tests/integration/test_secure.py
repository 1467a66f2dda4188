import json

import pytest

from schemas.codec import encode
from services.lab.synthetic import Sizes, generate
from services.runtime.engines import SaslListener, start_kafka
from services.runtime.supervise import Supervisor
from tests.integration.commands import Shells
from tests.integration.system import end
from tests.integration.tls import write_tls_files
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

USER, PASSWORD = "alice", "correct horse"
SIZES = Sizes(users=20, items=30, ratings=300)
REFUSED = 2
SECURE = {
    "STREAMREC_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "STREAMREC_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "STREAMREC_KAFKA_SASL_USERNAME": USER,
    "STREAMREC_KAFKA_SASL_PASSWORD": PASSWORD,
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory, kafka_home, store):
    """What the commands say to a Kafka that they reach by its SASL_SSL listener alone."""
    trusted, keystore = write_tls_files(tmp_path_factory.mktemp("tls"))
    sasl = SaslListener(USER, PASSWORD, keystore)
    logs, directory = tmp_path_factory.mktemp("logs"), tmp_path_factory.mktemp("shells")
    with start_kafka(tmp_path_factory.mktemp("secure"), kafka_home, sasl=sasl) as kafka, Supervisor(logs) as supervisor:
        exports = SECURE | {
            "STREAMREC_KAFKA_SSL_CAFILE": str(trusted),
            "STREAMREC_BOOTSTRAP_SERVERS": kafka.sasl_address,
            "STREAMREC_REDIS_URL": store.url,
            "STREAMREC_NAMESPACE": "secure",
            "STREAMREC_TOPIC_PREFIX": "secure.",
            "STREAMREC_SESSION_TIMEOUT_S": "2",
        }
        wrong = exports | {"STREAMREC_KAFKA_SASL_PASSWORD": "battery staple"}
        with Supervisor(logs / "refused") as other:
            refused = Shells(directory, other, wrong).launch("scorer")
            said = run_everything(Shells(directory, supervisor, exports), directory)
            said["wrong password"] = refused.wait(30)
        with Supervisor(logs / "confluent") as other:
            scorer = Shells(directory, other, exports | {"STREAMREC_SCORER_CLIENT": "confluent"}).launch("scorer")
            scorer.wait_for_event("scorer.ready")
            said["confluent"] = end(scorer)
        said["written"] = b"".join(path.read_bytes() for path in logs.rglob("*.log"))
        yield said


def run_everything(shells, directory):
    items, ratings = generate(5, SIZES)
    (directory / "items.jsonl").write_bytes(b"".join(encode(item) + b"\n" for item in items))
    ratings.to_csv(directory / "ratings.csv", index=False)
    said = {"topics": shells.say("topics", "create")}
    running = [shells.launch("worker"), shells.launch("scorer")]
    said["catalog"] = shells.say("catalog", "load", "items.jsonl")
    said["train"] = shells.say("train", "pca", "--dim", "4")
    for child in running:
        child.wait_for_event(f"{child.name}.ready")
    said["replay"] = shells.say("replay", "ratings", "ratings.csv")
    said["rate"] = shells.say("rate", "somebody", "i1", "5")
    said["answer"] = wait_until(lambda: ask_until_known(shells, "somebody"), 60, "the rating is known")
    said["doctor"] = shells.run("doctor")
    said["exit codes"] = [end(child) for child in running]
    return said


def ask_until_known(shells, user_id):
    answer = json.loads(shells.say("recommend", user_id, "--json"))
    return answer if answer["state"]["t"] else None


@pytest.mark.kafka
def test_everything_runs_over_sasl_ssl_with_scram(secured):
    assert len(secured["topics"].splitlines()) == 7
    assert secured["catalog"] == "30 items published on secure.items\n"
    assert "is the active release on secure.models" in secured["train"]
    assert secured["replay"].startswith("300 ratings published on secure.ratings")
    assert secured["rate"].startswith("secure.ratings partition ")
    assert secured["answer"]["model"].startswith("items@")
    assert len(secured["answer"]["items"]) == 10
    assert "i1" not in {slot["item_id"] for slot in secured["answer"]["items"]}
    assert secured["exit codes"] == [0, 0]
    assert secured["confluent"] == 0


@pytest.mark.kafka
def test_the_doctor_looks_over_the_secure_connection(secured):
    assert secured["doctor"].returncode == 0, secured["doctor"].stdout
    assert "(SASL_SSL)" in secured["doctor"].stdout


@pytest.mark.kafka
def test_a_wrong_password_is_refused(secured):
    assert secured["wrong password"] == REFUSED


@pytest.mark.kafka
def test_no_log_holds_a_password(secured):
    assert b"scorer.ready" in secured["written"]
    assert PASSWORD.encode() not in secured["written"]
    assert b"battery staple" not in secured["written"]


def but(**changes):
    exports = SECURE | {f"STREAMREC_KAFKA_{name.upper()}": value for name, value in changes.items()}
    return {name: value for name, value in exports.items() if value is not None}


@pytest.mark.parametrize(
    ("exports", "named"),
    [
        (but(security_protocol="PLAINTEXT"), "PLAINTEXT"),
        (but(security_protocol=None), "PLAINTEXT"),
        (but(security_protocol="SSL"), "SSL"),
        (but(sasl_password=None), "kafka_sasl_password"),
        ({"STREAMREC_KAFKA_SSL_CAFILE": "ca.pem"}, "plaintext"),
    ],
)
def test_settings_that_ask_for_security_and_would_run_without_refuse_to_start(tmp_path, exports, named):
    with Supervisor(tmp_path) as supervisor:
        shells = Shells(tmp_path, supervisor, exports)
        children = [shells.launch(command) for command in ("worker", "scorer")]
        assert [child.wait(30) for child in children] == [REFUSED, REFUSED]
        for child in children:
            text = child.log_path.read_text()
            assert named in text
            assert PASSWORD not in text
