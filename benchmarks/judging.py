"""Measure what it costs to judge a request that did much, and whether that grows in line.

    python benchmarks/judging.py

A request is made by hand of 100, 1,000 and 10,000 statements, on one line or on a line each, and
analysed. The last columns say how much dearer ten times as much is: ten is linear.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import process_time

from sqlalchemy import ForeignKey, create_engine, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from flask_perfkit.config import Settings
from flask_perfkit.detectors.analysis import analyse
from flask_perfkit.hooks.sqlalchemy import watch_statements
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


def main() -> None:
    """Print a row for each shape: milliseconds of processor time, and how they grow."""
    watch_statements()
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(User(id=number) for number in range(1, max(SIZES) + 1))
        session.commit()
    print("| | " + " | ".join(f"{size:,}" for size in SIZES) + " | growth |")
    print("| --- |" + " ---: |" * (len(SIZES) + 1))
    for shape in SHAPES:
        times = [judged(engine, shape, size) for size in SIZES]
        growth = ", ".join(f"{after / before:.1f}" for before, after in pairwise(times))
        cells = " | ".join(f"{seconds * 1000:,.1f} ms" for seconds in times)
        print(f"| {shape.__name__} | {cells} | {growth} |", flush=True)


def judged(engine: object, shape: Callable[[Session, int], None], size: int) -> float:
    """Return the seconds that a request of one shape takes to be judged, the median of trials."""
    return median(_trials(engine, shape, size))


def _trials(engine: object, shape: Callable[[Session, int], None], size: int) -> Iterator[float]:
    for _ in range(TRIALS):
        recorder = Recorder()
        token = enter(recorder)
        with Session(engine) as session:  # type: ignore[call-overload]
            shape(session, size)
        leave(token)
        gc.collect()
        started = process_time()
        recorder.close()
        analyse(recorder, Settings())
        yield process_time() - started


if __name__ == "__main__":
    sys.exit(main())
