"""A progress bar of one line.

>>> from firesteel.utils.progress import Progress
>>> import io
>>> stream = io.StringIO()
>>> with Progress(2, "batches", stream=stream) as bar:
...     bar.update(1)
...     bar.update(1, "loss 0.50")
>>> stream.getvalue()
''
"""

from __future__ import annotations

import shutil
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

__all__ = ["Progress"]


class Progress:
    """Shows how far a loop is, how fast it goes and when it will end; silent where the stream is no terminal.

    Args:
        total: steps in all, or None where unknown.
        unit: what a step is, in the plural.
        label: text before the bar.
        stream: where to write; by default the standard error stream.
        interval: least seconds between two paintings.
    """

    def __init__(
        self,
        total: int | None = None,
        unit: str = "steps",
        label: str = "",
        *,
        stream: TextIO | None = None,
        interval: float = 0.1,
    ) -> None:
        self.total = total
        self.unit = unit
        self.label = label
        self.stream = sys.stderr if stream is None else stream
        self.interval = interval
        self.done = 0
        self.note = ""
        self.visible = bool(getattr(self.stream, "isatty", lambda: False)())
        self.started = time.perf_counter()
        self._painted = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    def update(self, steps: int = 1, note: str | None = None) -> None:
        """Counts `steps` more; `note` replaces the text after the bar."""
        self.done += steps
        if note is not None:
            self.note = note
        now = time.perf_counter()
        if self.visible and now - self._painted >= self.interval:
            self._painted = now
            self._paint()

    def line(self, width: int = 80) -> str:
        """The bar as it stands, at most `width` characters."""
        seconds = max(self.elapsed, 1e-9)
        rate = self.done / seconds
        if self.total:
            share = min(self.done / self.total, 1.0)
            left = clock((self.total - self.done) / rate) if rate and self.done <= self.total else "?"
            numbers = f"{share:4.0%} {self.done:,}/{self.total:,} {self.unit}"
            tail = f"{rate:,.0f}/s, {left} left"
        else:
            share, numbers, tail = 0.0, f"{self.done:,} {self.unit}", f"{rate:,.0f}/s, {clock(seconds)}"
        text = "  ".join(part for part in (numbers, tail, self.note) if part)
        head = f"{self.label} " if self.label else ""
        room = min(width - len(head) - len(text) - 3, 30)
        if not self.total or room < 5:
            return f"{head}{text}"[:width]
        filled = int(share * room)
        return f"{head}[{'=' * filled}{' ' * (room - filled)}] {text}"

    def _paint(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        self.stream.write("\r" + self.line(width).ljust(width))
        self.stream.flush()

    def close(self) -> None:
        """Wipes the bar from the terminal."""
        if self.visible:
            self.stream.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self.stream.flush()
            self.visible = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


def clock(seconds: float) -> str:
    """Seconds as `m:ss`, or `h:mm:ss` from an hour on.

    >>> clock(75), clock(3675)
    ('1:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
