"""Puts one profile into `~/.aws/config`, which belongs to the user and to other programs.

Every other section keeps every byte, and so do the comments of the profile itself. The file is replaced atomically, its
mode kept and a symbolic link to it followed. What a profile that we write says is `awsprofile`'s.

A profile that we wrote is known by its mark, a comment. Only such a one is replaced unasked, and of it only what we
set: what somebody added to it stays.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from s3pull.access import files
from s3pull.access.cache import cache_directory
from s3pull.access.profiles import config_file, parse, profile_of
from s3pull.errors import DiskError, UsageError
from s3pull.records import NamedTuple

MARK = "# written by s3pull share export"
#: settings that we set, or take out again where there is nothing to set
_OURS = ("credential_process", "endpoint_url")

_NAME = re.compile(r"[A-Za-z0-9_.@+=,/-]+", re.ASCII)
_HEADER = re.compile(r"\[(.+)\]")
_LOCK_PATIENCE = 10.0


class Section(NamedTuple):
    """Lines [start, end) of a file; the first is the header."""

    title: str
    start: int
    end: int


def check_name(name: str) -> None:
    """Raises UsageError for a name that not every AWS tool can read."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of an AWS profile", hint="letters, digits and _ . - + = @ , /")


def section_text(name: str, share: str, settings: Mapping[str, str]) -> str:
    """The profile as a section of its own."""
    title = "default" if name == "default" else f"profile {name}"
    return "".join([f"[{title}]\n", *(f"{line}\n" for line in _lines(share, settings))])


def with_profile(text: str, name: str, share: str, settings: Mapping[str, str], *, replace: bool = False) -> str:
    """`text`, an AWS config file, with the profile `name` in it.

    | there is                          | then                                                    |
    |-----------------------------------|---------------------------------------------------------|
    | no such profile                   | it is added at the end                                  |
    | one with our mark                 | what we set is set anew, the rest of it stays           |
    | one without                       | refused, or (`replace`) its settings give way to ours   |
    | the profile twice                 | refused                                                 |

    Raises UsageError, also for a text that no AWS tool could read.
    """
    where = "the AWS config file"
    before = parse(text, where)
    newline = "\r\n" if "\r\n" in text else "\n"
    if "\r" in text.replace("\r\n", "\n"):
        raise UsageError(f"{where} has line ends of its own", hint="edit it by hand")
    lines = list(io.StringIO(text, newline="\n"))
    found = [one for one in _sections(lines) if profile_of(one.title) == name]
    if len(found) > 1:
        raise UsageError(f"AWS profile {name!r} is there twice", hint="remove one of them by hand")
    ours = [f"{line}{newline}" for line in _lines(share, settings)]
    if not found:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += newline
        gap = [newline] if lines and lines[-1].strip() else []
        header = section_text(name, share, settings).partition("\n")[0]
        after = [*lines, *gap, header + newline, *ours]
    else:
        (section,) = found
        body = lines[section.start + 1 : section.end]
        marked = any(line.startswith(MARK) for line in body)
        if not marked and not replace:
            raise UsageError(
                f"there is an AWS profile {name!r} that s3pull did not write",
                hint="choose another name, or --replace replaces its settings",
            )
        set_anew = {*settings, *_OURS} if marked else None
        kept = [line for line in _without(body, set_anew) if not line.startswith(MARK)]
        head = lines[: section.start + 1]
        if not head[-1].endswith("\n"):
            head[-1] += newline
        after = [*head, *ours, *kept, *lines[section.end :]]
    result = "".join(after)
    _check(before, parse(result, where), name, settings)
    return result


def write_profile(
    name: str, share: str, settings: Mapping[str, str], environ: Mapping[str, str], *, replace: bool = False
) -> Path:
    """`with_profile` on the file itself (AWS_CONFIG_FILE or `~/.aws/config`); returns where it is.

    Raises UsageError and DiskError; the file is then as it was.
    """
    path = config_file(environ)
    target = Path(os.path.realpath(path))
    lock = cache_directory(environ)
    place = lock / "aws-config.lock" if files.private_directory(lock) is None else Path(os.devnull)
    try:
        with files.hold(place, _LOCK_PATIENCE):
            mode = 0o600
            try:
                status = target.stat()
            except FileNotFoundError:
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                before = b""
            else:
                if not stat.S_ISREG(status.st_mode):
                    raise UsageError(f"{path} is not a regular file", hint="AWS_CONFIG_FILE says where profiles are")
                mode = stat.S_IMODE(status.st_mode)
                before = target.read_bytes()
            try:
                text = before.decode("utf-8")
            except UnicodeDecodeError:
                raise UsageError(f"{path} is not UTF-8 text", hint="it stays as it is: save it as UTF-8") from None
            mark = "\ufeff" if text.startswith("\ufeff") else ""
            after = mark + with_profile(text.removeprefix(mark), name, share, settings, replace=replace)
            if after != text:
                files.replace(target, after.encode("utf-8"), mode=mode)
    except OSError as error:
        raise DiskError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None
    return path


def _lines(share: str, settings: Mapping[str, str]) -> Iterator[str]:
    yield f"{MARK} {share} --aws-profile"
    for key, value in settings.items():
        yield f"{key} = {value}"


def _sections(lines: list[str]) -> list[Section]:
    heads = [(at, match[1]) for at, line in enumerate(lines) if (match := _HEADER.match(line))]
    ends = [*(at for at, _ in heads), len(lines)][1:]
    return [Section(title, at, end) for (at, title), end in zip(heads, ends, strict=True)]


def _without(body: list[str], keys: set[str] | None) -> Iterator[str]:
    """The lines of a section without these settings (None: without any), and what belongs to them."""
    dropping = False
    for line in body:
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            yield line
        elif line[0] in " \t":
            if not dropping:
                yield line
        else:
            key = re.split("[=:]", line, maxsplit=1)[0].strip().lower()
            dropping = keys is None or key in keys
            if not dropping:
                yield line


def _check(
    before: Mapping[str, Mapping[str, object]],
    after: Mapping[str, Mapping[str, object]],
    name: str,
    settings: Mapping[str, str],
) -> None:
    """Raises UsageError where another section would mean something else, or ours not what it should."""

    def others(sections: Mapping[str, Mapping[str, object]]) -> dict[str, Mapping[str, object]]:
        return {title: section for title, section in sections.items() if profile_of(title) != name}

    ours = next((section for title, section in after.items() if profile_of(title) == name), {})
    if others(before) != others(after) or any(ours.get(key) != value for key, value in settings.items()):
        raise UsageError("cannot edit the AWS config file without changing its meaning", hint="edit it by hand")
