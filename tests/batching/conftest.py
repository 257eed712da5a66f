from __future__ import annotations

from collections.abc import Iterator

import pytest
from batching_models import Base
from comparison import Compared
from sqlalchemy import create_engine


@pytest.fixture
def compared() -> Iterator[Compared]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield Compared(engine)
    engine.dispose()
