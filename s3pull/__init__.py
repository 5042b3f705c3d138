"""Download-only Amazon S3 client for data that belongs to somebody else.

    import s3pull

    s3pull.pull("acme:2026/", "data/")                      # like `s3pull get`
    s3pull.sync("acme:", "mirror/", delete=True)            # like `s3pull sync`
    for entry in s3pull.ls("acme:2026/"): ...               # like `s3pull ls`
    with s3pull.open("acme:2026/report.csv") as file: ...   # a seekable binary file
    s3pull.storage_options("acme")                          # for fsspec, pandas, Polars

What fails raises an error of `s3pull.errors`. Importing this loads none of it: names are found when they are used.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3pull import errors as errors
    from s3pull.api.caller import AccessOptions as AccessOptions
    from s3pull.api.file import RemoteFile as RemoteFile
    from s3pull.api.file import open as open  # noqa: A004
    from s3pull.api.following import Status as Status
    from s3pull.api.handover import storage_options as storage_options
    from s3pull.api.handover import url as url
    from s3pull.api.listing import Entry as Entry
    from s3pull.api.listing import ls as ls
    from s3pull.api.transfers import pull as pull
    from s3pull.api.transfers import sync as sync
    from s3pull.events import ObjectEvent as ObjectEvent
    from s3pull.events import Summary as Summary

__version__ = "0.1.0"

#: what is public, and the module that has it
_PLACES = {
    "AccessOptions": "api.caller",
    "Entry": "api.listing",
    "ObjectEvent": "events",
    "RemoteFile": "api.file",
    "Status": "api.following",
    "Summary": "events",
    "ls": "api.listing",
    "open": "api.file",
    "pull": "api.transfers",
    "storage_options": "api.handover",
    "sync": "api.transfers",
    "url": "api.handover",
}
__all__ = ["__version__", "errors", *_PLACES]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "errors":
        return import_module("s3pull.errors")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"s3pull.{_PLACES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(type(sys)):  # type: ignore[misc]
    """This module: `s3pull.pull` is the function, though there is a package of that name, which the import system
    would put there whenever something of it is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "pull" and isinstance(value, type(sys))):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
