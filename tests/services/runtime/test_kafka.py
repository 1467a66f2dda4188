import datetime as dt
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from services.runtime.engines import SaslListener, start_broker, start_kafka
from streams.settings import Settings

pytestmark = [pytest.mark.integration, pytest.mark.kafka]


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory):
    """A key with a self-signed certificate for 127.0.0.1: the server's keystore, and the file clients trust."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(public)
    (folder / "server.pem").write_bytes(private + public)
    return folder


@pytest.fixture(scope="module")
def secure_kafka(tmp_path_factory, kafka_home, tls_files):
    sasl = SaslListener("alice", "correct horse", tls_files / "server.pem")
    with start_kafka(tmp_path_factory.mktemp("secure kafka"), kafka_home, sasl=sasl) as engine:
        yield engine


def secure_options(engine, tls_files, password):
    return {
        "bootstrap_servers": engine.sasl_address,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "alice",
        "sasl_plain_password": password,
        "ssl_cafile": str(tls_files / "ca.pem"),
    }


def test_records_survive_a_crash_on_the_same_port(tmp_path, kafka_home):
    with start_broker(tmp_path / "a b, é", kafka_home=kafka_home) as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.url)
        admin.create_topics({"t": {"num_partitions": 1, "replication_factor": 1}})
        (topic_id,) = (topic["topic_id"] for topic in admin.describe_topics(["t"]))
        admin.close()
        with KafkaProducer(bootstrap_servers=broker.url) as producer:
            producer.send("t", b"kept").get(10)
        port = broker.port
        broker.kill()
        broker.restart()
        assert broker.port == port
        admin = KafkaAdminClient(bootstrap_servers=broker.url)
        assert [topic["topic_id"] for topic in admin.describe_topics(["t"])] == [topic_id]
        admin.close()
        consumer = KafkaConsumer(bootstrap_servers=broker.url, auto_offset_reset="earliest", consumer_timeout_ms=10_000)
        consumer.assign([TopicPartition("t", 0)])
        assert next(consumer).value == b"kept"
        consumer.close()


def test_topics_are_not_made_by_asking_for_them(kafka_broker):
    admin = KafkaAdminClient(bootstrap_servers=kafka_broker.url)
    admin.describe_topics(["never-made"])
    assert "never-made" not in admin.list_topics()
    admin.close()


def test_the_second_listener_takes_the_user_made_at_format_time(secure_kafka, tls_files):
    admin = KafkaAdminClient(**secure_options(secure_kafka, tls_files, "correct horse"))
    (node,) = admin.describe_cluster()["brokers"]
    admin.close()
    assert f"{node['host']}:{node['port']}" == secure_kafka.sasl_address


def test_the_second_listener_speaks_tls_and_checks_the_password(secure_kafka, tls_files):
    context = ssl.create_default_context(cafile=str(tls_files / "ca.pem"))
    host, port = secure_kafka.sasl_address.split(":")
    with ssl.create_connection((host, int(port)), timeout=5) as plain:
        context.wrap_socket(plain, server_hostname=host).close()
    consumer_options = secure_options(secure_kafka, tls_files, "wrong")
    with pytest.raises(Exception, match=r"(?i)authentic|sasl|bootstrap"):
        KafkaConsumer(**consumer_options, bootstrap_timeout_ms=5_000)


def test_the_password_is_neither_shown_nor_written_in_the_settings(secure_kafka, tls_files):
    sasl = SaslListener("alice", "correct horse", tls_files / "server.pem")
    assert "horse" not in repr(sasl)
    assert "horse" not in (secure_kafka.directory / "server.properties").read_text()
    assert (secure_kafka.directory / "keystore.pem").stat().st_mode & 0o777 == 0o600


def test_settings_of_streamrec_describe_the_second_listener(secure_kafka, tls_files):
    settings = Settings(
        bootstrap_servers=secure_kafka.sasl_address,
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_sasl_username="alice",
        kafka_sasl_password="correct horse",
        kafka_ssl_cafile=str(tls_files / "ca.pem"),
    )
    assert settings.bootstrap_servers == secure_kafka.sasl_address


def test_a_kafka_without_the_second_listener_has_no_address_for_it(kafka_broker):
    with pytest.raises(ValueError, match="without a SASL_SSL listener"):
        _ = kafka_broker.sasl_address
