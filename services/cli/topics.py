"""``streamrec topics``."""

from services.admin.bus import open_admin
from services.admin.findings import has_failed
from services.admin.topics import check_topics
from services.cli.flags import SettingsArgument
from services.cli.show import say, show_findings
from streams.bus.topics import create_topics


def create(*, settings: SettingsArgument) -> None:
    """Make the topics of the contract that are missing; those there are stay as they are."""
    with open_admin(settings) as admin:
        for name, is_new in create_topics(admin, settings).items():
            say(f"{name}: {'made' if is_new else 'was there'}")


def check(*, settings: SettingsArgument) -> int:
    """Compare partitions, cleanup policy and retention of each topic with the contract; 1 when one cannot work."""
    with open_admin(settings) as admin:
        findings = check_topics(admin, settings)
    show_findings("topics", findings)
    return int(has_failed(findings))
