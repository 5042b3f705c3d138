"""A command and how often it runs, as cron and systemd want to read it. Pure text: nothing is installed or looked at.

What each can say of `every`, and when a run that was missed (the machine was off) is made up for:

| every                             | cron         | systemd                    | made up for            |
|-----------------------------------|--------------|----------------------------|------------------------|
| minutes that divide the hour      | `7-59/15`    | OnCalendar, Persistent     | by systemd, not cron   |
| hours that divide the day, 1d, 7d | `7 3-23/6`   | OnCalendar, Persistent     | by systemd, not cron   |
| other whole minutes               | refused      | OnBootSec, OnUnitActiveSec | after each start       |

Nobody's runs begin at minute 0: where in its span a run begins comes from the names of what it does.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence

from s3pull.errors import UsageError

_HOUR, _DAY, _WEEK = 60, 1440, 10080
#: minutes that a calendar can express evenly
EVEN = (
    *(minutes for minutes in range(1, _HOUR) if _HOUR % minutes == 0),
    *(hours * _HOUR for hours in range(1, 24) if 24 % hours == 0),
    _DAY,
    _WEEK,
)
_LONGEST = 366 * _DAY
#: MAX_COMMAND of cron(8) as Debian has it is 1,000 bytes
_LONGEST_COMMAND = 990
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
#: what needs no quotes in a unit, and is no prefix, separator or specifier (systemd.service(5), systemd.syntax(7))
_PLAIN = re.compile(r"[A-Za-z0-9_/.,:=+-]+", re.ASCII)


def minutes(seconds: float) -> int:
    """`--every` in whole minutes, from 1 to a year. Raises ValueError."""
    if not 60 <= seconds <= _LONGEST * 60 or seconds % 60:
        raise ValueError("not whole minutes, from 1m to 366d")
    return round(seconds / 60)


def human(every: int) -> str:
    """`15m`, `6h`, `7d`"""
    for unit, name in ((_DAY, "d"), (_HOUR, "h")):
        if every % unit == 0:
            return f"{every // unit}{name}"
    return f"{every}m"


def offset(every: int, *names: str) -> int:
    """Where in the span a run begins, in minutes: always the same for the same names."""
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % every


# --- cron -----------------------------------------------------------------------------------------------


def cron_line(words: Sequence[str], every: int, at: int) -> str:
    """The line of a user's crontab (crontab(5)), without its end. Raises UsageError for what it cannot express."""
    if every not in EVEN:
        raise UsageError(
            f"cron cannot run something every {human(every)}: it divides neither the hour nor the day",
            hint=f"{_nearest(every)}; or --format systemd, which can",
        )
    return f"{_cron_time(every, at)} {_cron_command(words)}"


def _cron_time(every: int, at: int) -> str:
    minute, hour = at % _HOUR, at // _HOUR % 24
    if every < _HOUR:
        return f"{_steps(at, 59, every)} * * * *"
    if every < _DAY:
        return f"{minute} {_steps(hour, 23, every // _HOUR)} * * *"
    return f"{minute} {hour} * * {at // _DAY if every == _WEEK else '*'}"


def _steps(first: int, last: int, step: int) -> str:
    return "*" if step == 1 else f"{first}-{last}/{step}"


def _cron_command(words: Sequence[str]) -> str:
    """For sh, after cron has made `\\%` to `%`, and a bare `%` to a newline.

    What cron makes of a backslash before a backslash differs between its versions.
    """
    for word in words:
        _refuse_unprintable(word)
        if re.search(r"\\[\\%]", word):
            raise UsageError(
                f"a crontab cannot hold {word!r}: some crons change a backslash before a backslash or %",
                hint="--format systemd can",
            )
    command = shlex.join(words).replace("%", "\\%")
    if len(command.encode()) > _LONGEST_COMMAND:
        raise UsageError(
            f"the command is longer than the {_LONGEST_COMMAND} bytes that every cron takes",
            hint="--format systemd can",
        )
    return command


def _nearest(every: int) -> str:
    shorter = [even for even in EVEN if even < every]
    longer = [even for even in EVEN if even > every]
    return "the nearest that it can: " + " and ".join(human(even) for even in shorter[-1:] + longer[:1])


# --- systemd --------------------------------------------------------------------------------------------


def service(words: Sequence[str], description: str) -> str:
    """The text of the .service: one run. A stop at the deadline, or by systemd, is no failure."""
    return f"""\
[Unit]
Description={_specifiers(description)}

[Service]
Type=oneshot
ExecStart={_exec_line(words)}
SuccessExitStatus=13 143
"""


def timer(every: int, at: int, description: str) -> str:
    """The text of the .timer."""
    return f"""\
[Unit]
Description={_specifiers(description)}

[Timer]
{_systemd_time(every, at)}
RandomizedDelaySec={min(every * 60 // 20, 300)}s

[Install]
WantedBy=timers.target
"""


def _systemd_time(every: int, at: int) -> str:
    if every not in EVEN:
        return f"OnBootSec={at % _HOUR}min\nOnUnitActiveSec={every}min"
    minute, hour = at % _HOUR, at // _HOUR % 24
    if every < _HOUR:
        when = f"*:{_from(at, every)}"
    elif every < _DAY:
        when = f"{_from(hour, every // _HOUR)}:{minute:02}"
    else:
        when = f"{hour:02}:{minute:02}"
        if every == _WEEK:
            when = f"{_WEEKDAYS[at // _DAY]} {when}"
    return f"OnCalendar={when}:00\nPersistent=true"


def _from(first: int, step: int) -> str:
    return "*" if step == 1 else f"{first}/{step}"


def _exec_line(words: Sequence[str]) -> str:
    """One command of systemd.service(5). In the program's path no variable is replaced, so `$$` is no `$` there."""
    for word in words:
        _refuse_unprintable(word)
    if "$" in words[0]:
        words = ["/usr/bin/env", *words]
    return " ".join(_exec_word(word) for word in words)


def _exec_word(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    quoted = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_specifiers(quoted)}"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


# --- both -----------------------------------------------------------------------------------------------


def _refuse_unprintable(word: str) -> None:
    """Newlines and other control characters end lines, or are lost; what is no UTF-8 cannot be printed."""
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in word):
        raise UsageError(f"a schedule cannot hold {word!r}: it has a control character", hint="choose another name")
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UsageError(f"a schedule cannot hold {word!r}: it is not UTF-8", hint="choose another name") from None
