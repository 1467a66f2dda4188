"""The command line as a whole: settings, errors, exit codes, and what a command loads."""

import os
import subprocess
import sys

import pytest

from schemas.errors import ConfigurationError, DataError, EventsLost, StreamrecError
from services.admin.rate import Place
from services.cli import main as cli
from streams.settings import Settings
from tests.services.runtime.processes import with_our_packages


@pytest.fixture
def given_settings(monkeypatch):
    """The settings that ``rate`` was given, in a list; nothing is sent."""
    seen = []

    def send_rating(settings, user, item, rating):
        seen.append(settings)
        return Place("ratings", 2, 88)

    monkeypatch.setattr("services.cli.rate.send_rating", send_rating)
    return seen


RATE = ("rate", "u", "i", "4")


def test_command_prints_its_result_and_ends_well(run, given_settings):
    assert run(*RATE) == type(run(*RATE))(0, "ratings partition 2 offset 88\n", "")


@pytest.mark.parametrize(
    "tokens",
    [
        ("--namespace", "shop", *RATE),
        (*RATE, "--namespace", "shop"),
        ("rate", "--namespace=shop", "u", "i", "4"),
    ],
)
def test_setting_is_a_flag_before_and_after_the_command(run, given_settings, tokens):
    assert run(*tokens).code == 0
    assert given_settings[0].namespace == "shop"


@pytest.mark.parametrize(("given", "found"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_asleep_unless_the_environment_says_otherwise(monkeypatch, given, found):
    monkeypatch.setenv("OMP_WAIT_POLICY", str(given))
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert os.environ["OMP_WAIT_POLICY"] == found


def test_every_setting_is_a_flag(run):
    shown = run("--help").out
    missing = [name for name in Settings.model_fields if f"--{name.replace('_', '-')}" not in shown]
    assert missing == []


def test_flag_beats_environment_beats_file_beats_what_up_wrote(run, given_settings, tmp_path, monkeypatch):
    (tmp_path / ".streamrec").mkdir()
    (tmp_path / ".streamrec" / "up.toml").write_text('namespace = "up"\n')
    run(*RATE)
    (tmp_path / "streamrec.toml").write_text('namespace = "file"\n')
    run(*RATE)
    monkeypatch.setenv("STREAMREC_NAMESPACE", "environment")
    run(*RATE)
    run(*RATE, "--namespace", "flag")
    assert [settings.namespace for settings in given_settings] == ["up", "file", "environment", "flag"]


def test_value_out_of_range_is_one_line_and_exit_code_2(run, given_settings):
    outcome = run(*RATE, "--shards", "0")
    assert outcome.code == 2
    assert outcome.err.startswith("error: shards: ")
    assert outcome.err.count("\n") == 1
    assert given_settings == []


def test_contradicting_security_is_refused_without_the_password(run, given_settings):
    outcome = run(*RATE, "--kafka-sasl-password", "hush")
    assert outcome.code == 2
    assert "kafka_security_protocol" in outcome.err
    assert "hush" not in outcome.err + outcome.out


@pytest.mark.parametrize(
    "tokens",
    [
        ("rat",),
        ("rate", "u"),
        ("rate", "u", "i", "four"),
        (*RATE, "--no-such-flag", "1"),
        ("topics", "destroy"),
        (*RATE, "--epsilon-decay", "linear"),
    ],
)
def test_wrong_usage_is_exit_code_2(run, tokens):
    outcome = run(*tokens)
    assert outcome.code == 2
    assert outcome.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StreamrecError("the bus is down"), 1),
        (DataError("no such file"), 1),
        (ConfigurationError("no topic"), 2),
        (EventsLost("log starts at 5, the state is at 3"), 3),
    ],
)
def test_error_is_one_line_and_an_exit_code(run, monkeypatch, error, code):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr("services.cli.rate.send_rating", fail)
    outcome = run(*RATE)
    assert (outcome.code, outcome.err, outcome.out) == (code, f"error: {error}\n", "")


def test_debug_gives_the_traceback(run, monkeypatch):
    def fail(*_arguments):
        raise DataError("no such file")

    monkeypatch.setattr("services.cli.rate.send_rating", fail)
    with pytest.raises(DataError):
        run(*RATE, "--debug")


@pytest.mark.parametrize("tokens", [("--help",), ("rate", "--help"), ("topics", "--help"), ("train", "pca", "--help")])
def test_help_is_shown_without_settings_being_read(run, tokens, monkeypatch):
    monkeypatch.setenv("STREAMREC_SHARDS", "none")
    outcome = run(*tokens)
    assert outcome.code == 0
    assert "Usage: streamrec" in outcome.out


def python(*arguments, cwd):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=with_our_packages({**os.environ, "COLUMNS": "100"}),
        timeout=60,
        check=False,
    )


def test_module_runs_as_a_program(tmp_path):
    ran = python("-m", "services.cli.main", "rate", "u", "i", "9", cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr == "error: rating_out_of_range: rating must be in [0.5, 5.0], got 9.0\n"


LOADED = "import sys; print(*sorted(name for name in sys.modules if '.' not in name))"


def test_rating_loads_nothing_heavy(tmp_path):
    program = f"""
from services.cli.main import app
app.meta(["rate", "u", "i", "9"], result_action="return_value")
{LOADED}"""
    ran = python("-c", program, cwd=tmp_path)
    loaded = set(ran.stdout.split())
    assert "kafka" in loaded, ran.stderr
    assert not loaded & {"torch", "faust", "aiokafka", "pandas", "pyarrow", "scipy", "numba", "matplotlib", "redis"}


def test_starting_up_loads_no_servers_clients(tmp_path):
    ran = python("-c", f"import services.cli.main; {LOADED}", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert not set(ran.stdout.split()) & {"kafka", "redis", "numpy", "faust", "torch", "pandas"}


def test_no_command_but_training_loads_torch(tmp_path):
    modules = sorted({target.partition(":")[0] for _, _, target, _ in cli._COMMANDS})
    rooms = ["services.cli.demo", "services.scorer.service", "services.runtime.up", "streams.worker.app"]
    program = f"import importlib; [importlib.import_module(name) for name in {[*modules, *rooms]}]; {LOADED}"
    ran = python("-W", "ignore", "-c", program, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "torch" not in ran.stdout.split()
