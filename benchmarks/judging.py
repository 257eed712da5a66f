"""Measure what it costs to judge a request that did much, and whether that grows in line.

    python benchmarks/judging.py

A request is made by hand of 100, 1,000 and 10,000 statements, on one line or on a line each, and
analysed. Its time is what judging takes in all: records are counted under their causes a thousand
at a time while the request still runs, the rest of it comes at the end. Then statements of 10 kB,
100 kB and 1 MB are looked at for the first time. The last column says how much dearer ten times as
much is: ten is linear.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from time import process_time

from sqlalchemy import ForeignKey, create_engine, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from flask_perfkit.config import Settings
from flask_perfkit.detectors.analysis import analyse
from flask_perfkit.hooks.sqlalchemy import watch_statements
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.fingerprint import shape_of
from flask_perfkit.recording.recorder import Recorder, enter, leave

SIZES = (100, 1_000, 10_000)
TRIALS = 3
LINES = 100
FILES = Path(__file__).parent / "generated"


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")
    documents: Mapped[list[Document]] = relationship()


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


def loop(session: Session, size: int) -> None:
    """Load a relationship of each object on one line."""
    for user in session.scalars(select(User).limit(size)).all():
        assert user.documents is not None


def lines(session: Session, size: int) -> None:
    """Load a relationship on as many lines as there are objects, as generated code may."""
    users = session.scalars(select(User).limit(size)).all()
    run([f"users[{number}].documents" for number in range(size)], users=users)


def reads_beside_writes(session: Session, size: int) -> None:
    """Repeat reads on a line each, beside writes of the same table."""
    read, write = select(User.name).where(User.id == 1), update(User).where(User.id == 1)
    again = ["session.execute(read).all()"] * 5 + ["session.execute(write)"]
    run(again * (size // len(again)), session=session, read=read, write=write.values(name="a"))


def run(statements: list[str], **names: object) -> None:
    """Run statements on a line each, in files of a hundred lines."""
    for first in range(0, len(statements), LINES):
        code = "\n".join(statements[first : first + LINES])
        exec(compile(code, str(FILES / f"lines_{first}.py"), "exec"), names)


SHAPES: tuple[Callable[[Session, int], None], ...] = (loop, lines, reads_beside_writes)


class TimedRecorder(Recorder):
    """A recorder that knows how long it took to count records under their causes."""

    def __init__(self) -> None:
        super().__init__()
        self.folding = 0.0

    def fold(self) -> tuple[Cause, ...]:
        """Fold, and take the time."""
        started = process_time()
        try:
            return super().fold()
        finally:
            self.folding += process_time() - started


def literals(size: int) -> str:
    """Return an IN with numbers, written into the statement."""
    return f"SELECT id FROM users WHERE id IN ({', '.join(map(str, range(size // 8)))})"


def one_text(size: int) -> str:
    """Return an INSERT of one long text, with quotes in it."""
    return f"INSERT INTO notes VALUES ('{chr(39) * 2}{'some words, ' * (size // 12)}')"


def dollar_quotes(size: int) -> str:
    """Return many beginnings of dollar quotes, of which none has an end."""
    return f"SELECT {''.join(f'$t{number}$' for number in range(size // 8))}"


TEXTS: tuple[Callable[[int], str], ...] = (literals, one_text, dollar_quotes)
BYTES = (10_000, 100_000, 1_000_000)


def main() -> None:
    """Print a row for each shape: milliseconds of processor time, and how they grow."""
    watch_statements()
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(User(id=number) for number in range(1, max(SIZES) + 1))
        session.commit()
    header(SIZES)
    for shape in SHAPES:
        judged(engine, shape, SIZES[0])  # what is done once in a process
        row(shape.__name__, [judged(engine, shape, size) for size in SIZES])
    header(BYTES)
    for text in TEXTS:
        row(text.__name__, [looked_at(text(size)) for size in BYTES])


def header(sizes: tuple[int, ...]) -> None:
    """Print the head of a table."""
    print("| | " + " | ".join(f"{size:,}" for size in sizes) + " | growth |")
    print("| --- |" + " ---: |" * (len(sizes) + 1))


def row(name: str, times: list[float]) -> None:
    """Print the times of one row, and how they grow."""
    growth = ", ".join(f"{after / before:.1f}" for before, after in pairwise(times))
    cells = " | ".join(f"{seconds * 1000:,.1f} ms" for seconds in times)
    print(f"| {name} | {cells} | {growth} |", flush=True)


def judged(engine: object, shape: Callable[[Session, int], None], size: int) -> float:
    """Return the seconds that a request of one shape takes to be judged, the least of trials."""
    return min(_trials(engine, shape, size))


def looked_at(text: str) -> float:
    """Return the seconds that the first look at a statement takes, the least of trials."""
    times = []
    for number in range(TRIALS):
        started = process_time()
        shape_of(f"{text} /* {number} */")
        times.append(process_time() - started)
    return min(times)


def _trials(engine: object, shape: Callable[[Session, int], None], size: int) -> Iterator[float]:
    for _ in range(TRIALS):
        recorder = TimedRecorder()
        token = enter(recorder)
        with Session(engine) as session:  # type: ignore[call-overload]
            shape(session, size)
        leave(token)
        gc.collect()
        before, started = recorder.folding, process_time()
        recorder.close()
        analyse(recorder, Settings())
        yield before + process_time() - started


if __name__ == "__main__":
    sys.exit(main())
