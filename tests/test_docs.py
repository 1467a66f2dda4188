"""The documentation, compared with what it speaks of."""

import doctest
import json
import re
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import pytest

from schemas.codec import RatingDecoder, decode_answer, decode_item, decode_release, decode_request
from schemas.errors import Halt
from schemas.events import DEAD_LETTER_REASONS, ERROR_CODES, RatingEvent, Recommendation, RecommendationRequest
from schemas.topics import DAY_MS, TOPICS, TopicSpec
from services.cli.main import app
from streams.settings import Settings
from tests.metrics_table import documented_metrics, metrics_table

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ROOMS = ("schemas", "recommender", "streams", "services", "benchmarks", "deploy")
NO_SETTINGS = {"STREAMREC_CACHE", "STREAMREC_NAME"}
"""A variable that is read, and is no setting; the word for any of them."""

_BLOCK = re.compile(r"^```[\s\S]*?^```$|^    .*$", flags=re.MULTILINE)

named = pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])


def settings_table() -> str:
    """The table of docs/settings.md."""
    lines = ["| setting | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in {None, ""} else f"`{field.default}`"
        meaning = field.description or name.replace("_", " ")
        lines.append(f"| `{name}` | {default} | {_allowed(field)} | {meaning} |")
    return "\n".join(lines)


def _allowed(field: Any) -> str:
    words = []
    for rule in field.metadata:
        words += [f"at least {rule.ge}"] if hasattr(rule, "ge") else []
        words += [f"above {rule.gt}"] if hasattr(rule, "gt") else []
        words += [f"at most {rule.le}"] if hasattr(rule, "le") else []
        words += [f"below {rule.lt}"] if hasattr(rule, "lt") else []
        words += [f"`{rule.pattern}`"] if hasattr(rule, "pattern") else []
    kinds = [field.annotation, *get_args(field.annotation)]
    options = [option for kind in kinds if get_origin(kind) is not None for option in get_args(kind)]
    words += [f"`{option}`" for option in options if isinstance(option, str)]
    return ", ".join(words)


def _headings(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", _without_code(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _without_code(text: str) -> str:
    return _BLOCK.sub("", text)


def _code(text: str) -> str:
    """Everything set as code: blocks, and spans between backticks, one a line."""
    blocks = _BLOCK.findall(text)
    spans = re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", _without_code(text))
    return "\n".join([*blocks, *(span.replace("\n", " ") for span in spans)])


def _commands(text: str) -> list[str]:
    """Every call of `streamrec` in code, up to a comment or the end of its line."""
    calls = re.findall(r"(?:^|[\s/`$(])streamrec ((?:-|[a-z]).*)$", _code(text), flags=re.MULTILINE)
    return [re.split(r"\s{2,}| #|`|\||\)|\s>", call)[0].strip() for call in calls]


def _rows(text: str, header: str) -> list[list[str]]:
    """The cells of the one table whose header starts so."""
    (table,) = re.findall(rf"^\| {re.escape(header)}.*?\n\| ---.*?\n((?:\|.*\n)+)", text + "\n", flags=re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]


def _section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ", maxsplit=1)[0]


def _first_block(section: str) -> bytes:
    (block,) = re.findall(r"\A\n*((?:    .*\n)+)", section)
    return block.encode()


def _contract() -> str:
    return (DOCS / "contract.md").read_text()


def _kept(spec: TopicSpec) -> str:
    return {None: "newest of a key", -1: "for ever", DAY_MS: "1 day"}[spec.retention_ms]


@named
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(page.read_text())):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in _headings(file.read_text()), target


@named
def test_every_command_exists_with_its_flags(page):
    for call in _commands(page.read_text()):
        if call in {"--help", "--version"}:
            continue
        chain, apps, rest = app.parse_commands(call.split())
        assert chain, call
        is_group = apps[-1].default_command is None
        assert not (is_group and rest), call
        known = {"--help", "--version"}
        for command in (app.meta, *([] if is_group else apps[-1:])):
            known |= {name for argument in command.assemble_argument_collection() for name in argument.names}
        assert [word for word in rest if word.startswith("--") and word.split("=")[0] not in known] == [], call


@named
def test_every_setting_exists(page):
    text = page.read_text()
    variables = set(re.findall(r"STREAMREC_[A-Z_]+[A-Z]", text)) - NO_SETTINGS
    assert {name.removeprefix("STREAMREC_").lower() for name in variables} - {"kafka"} <= set(Settings.model_fields)


@named
def test_no_page_speaks_of_the_machine_it_was_written_on(page):
    text = page.read_text()
    assert str(ROOT) not in text
    assert str(Path.home()) not in text


@named
def test_every_module_and_file_named_exists(page):
    roots = "schemas|recommender|streams|services|benchmarks|deploy|tests|docs"
    for path in re.findall(rf"`((?:{roots})/[\w./-]*)`", page.read_text()):
        assert (ROOT / path).exists(), path


def test_the_settings_page_is_what_the_code_has():
    assert settings_table() in (DOCS / "settings.md").read_text(), f"put this table there:\n{settings_table()}"


def test_the_metrics_page_is_what_the_code_has():
    assert metrics_table() in (DOCS / "observability.md").read_text(), f"put this table there:\n{metrics_table()}"
    assert len(documented_metrics()) == len(metrics_table().splitlines()) - 2


def test_the_topic_table_is_what_the_code_has():
    rows = _rows(_contract(), "topic | key")
    expected = [[f"`{spec.role}`", spec.key, spec.cleanup, _kept(spec), spec.says] for spec in TOPICS.values()]
    assert rows == expected


def test_the_readme_names_every_topic():
    assert [row[0] for row in _rows((ROOT / "README.md").read_text(), "topic")] == [f"`{role}`" for role in TOPICS]


def test_the_contract_names_every_dead_letter_reason_and_no_other():
    names = [name for row in _rows(_contract(), "reason") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(names) == sorted(DEAD_LETTER_REASONS)


def test_the_contract_names_every_error_code_and_no_other():
    assert sorted(row[0].strip("`") for row in _rows(_contract(), "code")) == sorted(ERROR_CODES)


def test_the_rating_of_the_contract_shows_every_default():
    block = _first_block(_section(_contract(), "ratings"))
    assert RatingDecoder(0.5, 5.0).decode(block) == RatingEvent(user_id="u", item_id="i", rating=4.0)
    assert set(json.loads(block)) == set(RatingEvent.__struct_fields__)


def test_the_request_of_the_contract_shows_every_default():
    block = _first_block(_section(_contract(), "requests"))
    assert decode_request(block) == RecommendationRequest(request_id="r", user_id="u")
    assert set(json.loads(block)) == set(RecommendationRequest.__struct_fields__)


def test_the_answer_of_the_contract_shows_every_field():
    block = _first_block(_section(_contract(), "recommendations"))
    assert set(json.loads(block)) == set(Recommendation.__struct_fields__)
    assert msgspec.to_builtins(decode_answer(block)) == json.loads(block)


def test_the_item_and_the_release_of_the_contract_show_every_field():
    for title, decode in (("items", decode_item), ("models", decode_release)):
        block = _first_block(_section(_contract(), title))
        assert set(json.loads(block)) == set(decode(block).__struct_fields__)


def test_the_file_map_names_every_module_and_no_other():
    text = (DOCS / "architecture.md").read_text()
    folder, named_files = "", []
    for line in _section(text, "File map").splitlines():
        if match := re.match(r"    ([\w/]+)/", line):
            folder = match[1]
        elif match := re.match(r"      ([\w/]+\.(?:py|lua))\b", line):
            named_files.append(f"{folder}/{match[1]}")
    files = [path for room in ROOMS for kind in ("py", "lua") for path in (ROOT / room).rglob(f"*.{kind}")]
    found = [path.relative_to(ROOT).as_posix() for path in files if path.name != "__init__.py"]
    assert sorted(named_files) == sorted(found)


def test_the_commit_page_names_every_halt_and_no_other():
    rows = _rows((DOCS / "commit.md").read_text(), "error")
    assert sorted(row[0] for row in rows) == sorted(kind.__name__ for kind in Halt.__subclasses__())


def test_decision_records_are_numbered_without_holes_and_listed():
    records = sorted(path.name for path in (DOCS / "adr").glob("0*.md"))
    assert [int(name[:4]) for name in records] == list(range(1, len(records) + 1))
    index = (DOCS / "adr" / "README.md").read_text()
    assert [name for name in records if f"({name})" not in index] == []


@named
def test_examples_in_python_give_what_they_say(page):
    result = doctest.testfile(str(page), module_relative=False)
    assert result.failed == 0
