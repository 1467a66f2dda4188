"""Every setting as a flag, before or after the command's name."""

from dataclasses import asdict, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from streams.settings import Settings, load_settings

if TYPE_CHECKING:
    from recommender.diversity import DiversityLimits

SETTINGS_GROUP = Group(
    "Settings", help="By flag, else STREAMREC_NAME, else streamrec.toml, else .streamrec/up.toml.", sort_key=10
)

SettingsArgument = Annotated[Settings, Parameter(parse=False)]
"""A command's parameter that the launcher fills from flags, environment and files."""


def _describe(name: str) -> str:
    field = Settings.model_fields[name]
    text = field.description or name.replace("_", " ")
    return text if field.default in (None, "") else f"{text}; {field.default} by default"


# A class of the module `types`, which make_dataclass would name, counts as built in and is not taken apart.
SettingsFlags = make_dataclass(
    "SettingsFlags",
    [
        (name, Annotated[field.annotation | None, Parameter(help=_describe(name), group=SETTINGS_GROUP)], None)  # type: ignore[operator]
        for name, field in Settings.model_fields.items()
    ],
    frozen=True,
    kw_only=True,
    namespace={"__module__": __name__, "__doc__": "The settings given by flag; None for those that were not."},
)


def settings_of(flags: Any) -> Settings:
    """Return the settings with the flags that were given on top; None for no flags at all.

    Raises:
        ConfigurationError: a value is out of range, or two contradict one another.
    """
    return load_settings(**({} if flags is None else asdict(flags)))


def limits_of(settings: Settings) -> "DiversityLimits":
    """Return below what a policy has collapsed."""
    from recommender.diversity import DiversityLimits  # noqa: PLC0415 - numpy, which most commands start without

    return DiversityLimits(settings.least_coverage, settings.least_entropy, settings.least_distance)
