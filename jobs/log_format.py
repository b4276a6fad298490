"""`--log-format json`: everything on stderr as one JSON object per line, for programs that gather logs.

Every line has `time`, `level`, `event` and what people would read, `said`. Log records, stages, images that fail and
what happens to replicas and nodes have an `event` of their own with further fields; any other line is `said`. The last
object of a process is `ended`, with its `exit_code`. The number of lines is bounded: stages tell their progress once a
minute after ten minutes, five failed images are named, and a session logs at most a thousand events that cost work or a
node, and two hundred others.
"""

import json
import logging
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from pipeline.errors import ConfigError
from pipeline.progress.lines import LogLines, Words
from pipeline.progress.stages import Stage, Told, shown_by
from pipeline.progress.words import line, summary, title
from pipeline.shown import printable

OPTION, FORMATS = "--log-format", ("text", "json")
_LEVELS = {"error:": "error", "failed:": "error", "stopped:": "warning", "interrupted": "warning"}
"""How lines begin that say how a job ended, and their level."""
_DRAWN = str.maketrans("", "", "".join(map(chr, range(0x2500, 0x2580))))
"""Lines around and inside tables."""


def taken_log_format(arguments: list[str]) -> str:
    """Take the option out of a command line: every command has it. Returns: `text` if it is not given.

    Raises: ConfigError: there is no such format.
    """
    chosen = FORMATS[0]
    for place in reversed([i for i, word in enumerate(arguments) if word.partition("=")[0] == OPTION]):
        name, is_there, chosen = arguments.pop(place).partition("=")
        if not is_there:
            chosen = arguments.pop(place) if place < len(arguments) else ""
        if chosen not in FORMATS:
            raise ConfigError(f"{name} is {chosen!r}; it must be one of {', '.join(FORMATS)}")
    return chosen


class JsonStream:
    """A text stream that writes each line as a JSON object."""

    def __init__(self, stream: TextIO) -> None:
        self.terminal = stream
        self._begun = ""
        self._end: tuple[str, str, Mapping[str, Any]] | None = None
        """Level, words and fields of what told last how the job ends."""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        """Write the lines of a text that are whole; the beginning of one waits for its end."""
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
        for one in lines:
            self._say(one)
        return len(text)

    def emit(self, level: str, event: str, said: str, fields: Mapping[str, Any] | None = None) -> None:
        """Write an object. Control characters and secrets are left out of all its texts."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        own = {"time": now, "level": level, "event": event, "said": said}
        values = own | {name: value for name, value in (fields or {}).items() if name not in own}
        text = json.dumps(_harmless(values), default=str)
        with self._lock:
            self.terminal.write(f"{text}\n")
            self.terminal.flush()

    def flush(self) -> None:
        """Write what is buffered; half a line stays."""
        self.terminal.flush()

    def close_line(self) -> None:
        """Write half a line as if it were whole: nothing comes any more."""
        if self._begun:
            self.write("\n")

    def will_end(self, level: str, said: str, fields: Mapping[str, Any] | None = None) -> None:
        """Note how the job ends, for `ended`."""
        self._end = level, said, fields or {}

    def ended(self, exit_code: int) -> None:
        """Write the last object of the process."""
        self.close_line()
        level, said, fields = self._end or ("error", f"ended with exit code {exit_code}", {})
        if not exit_code:
            level, said, fields = "info", "done", {}
        self.emit(level, "ended", said, {**fields, "exit_code": exit_code})

    def isatty(self) -> bool:
        """Say no: nobody looks at it."""
        return False

    def _say(self, text: str) -> None:
        words = " ".join(text.translate(_DRAWN).split())
        if words:
            level = next((level for begins, level in _LEVELS.items() if words.startswith(begins)), "info")
            self.emit(level, "said", words)
            if level != "info":
                self.will_end(level, words)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.terminal, name)


class JsonHandler(logging.Handler):
    """Writes log records to such a stream; `extra` may have an `event` and a mapping of `fields`."""

    def __init__(self, stream: JsonStream) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        fields = dict(getattr(record, "fields", {})) | {"logger": record.name}
        if record.exc_info and record.exc_info[0]:
            fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        event = getattr(record, "event", "log")
        self._stream.emit(record.levelname.lower(), event, record.getMessage(), fields)


@contextmanager
def json_logs() -> Iterator[logging.Handler]:
    """Write all that goes to stderr in this block, and its stages, as JSON; last of all how it ends, which it says by
    SystemExit. Gives the handler of log records."""
    before = sys.stderr
    stream = JsonStream(getattr(before, "terminal", before))
    sys.stderr = stream
    happened = logging.getLogger("pipeline.happened")
    level, words = happened.level, Words(title=_told("stage_began", title), line=_told("progress", line),
                                         summary=_told("stage_ended", summary))  # fmt: skip
    happened.setLevel(logging.INFO)

    def write(text: str) -> None:
        fields = json.loads(text)
        stream.emit("info", fields["event"], fields["said"], fields)

    def say(one: str) -> None:
        if isinstance(one, Told):
            stream.emit("info", one.event, one, one.fields)
            return
        stream.write(f"{one}\n")

    exit_code = 0
    try:
        with LogLines(write, say, words=words) as lines, shown_by(lines):
            yield JsonHandler(stream)
    except SystemExit as ending:
        exit_code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        raise
    except BaseException:
        exit_code = 1
        raise
    finally:
        stream.ended(exit_code)
        happened.setLevel(level)
        sys.stderr = before


def print_traceback() -> None:
    """Print the exception that is being handled: in JSON, as a field of how the job ended."""
    if isinstance(sys.stderr, JsonStream):
        error = sys.exception()
        fields = {"traceback": traceback.format_exc()}
        sys.stderr.will_end("error", f"{type(error).__name__}: {error}", fields)
    else:
        traceback.print_exc()


def _told(event: str, words: Any) -> Any:
    def tell(stage: Stage) -> str:
        rate, left_s = stage.pace.per_s(), stage.pace.left_s()
        known = {
            "stage": stage.name, "unit": stage.unit, "done": stage.done if stage.unit else None, "total": stage.total,
            "per_s": rate, "left_s": left_s, "elapsed_s": round(stage.elapsed_s, 3), "notes": stage.notes,
        }  # fmt: skip
        fields = {name: value for name, value in known.items() if value not in (None, "")}
        return json.dumps({**fields, "event": event, "said": words(stage)})

    return tell


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, kept="\n")
    if isinstance(value, Mapping):
        return {printable(str(name)): _harmless(one) for name, one in value.items()}
    return [_harmless(one) for one in value] if isinstance(value, list | tuple) else value
