from __future__ import annotations

from pathlib import Path

import pytest

from .labels import Label, LabelError, read


def _read(tmp_path: Path, name: str, text: str) -> list[Label]:
    path = tmp_path / name
    path.write_text(text)
    return list(read(path))


def test_label_at_the_end_of_its_line(tmp_path: Path) -> None:
    (label,) = _read(
        tmp_path, "views.py", "x = 1\ny = 2  # FINDING n_plus_one A.b|A.c x10 fix=f(A.b)"
    )

    assert label.line == (str(tmp_path / "views.py"), 2)
    assert label.choices(1) == ("A.b", "A.c")
    assert label.count == range(10, 11)
    assert label.first_fix == "f(A.b)"


def test_labels_above_their_line(tmp_path: Path) -> None:
    text = """\
# FINDING n_plus_one A.b x10
#   fix=f(A.b) fix=g(A.b)
#   @views.one,views.two
# CALLER x2..3
# An ordinary comment.
x = 1
"""
    finding, caller = _read(tmp_path, "views.py", text)

    assert finding.line[1] == caller.line[1] == 6
    assert finding.views == ("views.one", "views.two")
    assert finding.settings == {"fix": "f(A.b)|g(A.b)"}
    assert list(caller.count or ()) == [2, 3]


def test_two_labels_in_one_comment(tmp_path: Path) -> None:
    labels = _read(tmp_path, "views.py", "x = 1  # SILENT x0; ORIGIN A.b")

    assert [label.word for label in labels] == ["SILENT", "ORIGIN"]


def test_labels_of_a_template(tmp_path: Path) -> None:
    text = """\
<p>
  {# FINDING n_plus_one A.b x10
     @views.one #}
  {{ a.b }}
  {{ call(a) }}  {# CALLER x10 @views.one #}
"""
    finding, caller = _read(tmp_path, "page.html", text)

    assert (finding.line[1], caller.line[1]) == (4, 5)
    assert finding.views == caller.views == ("views.one",)


def test_label_that_breaks_the_grammar(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cannot read 'kind='"):
        _read(tmp_path, "views.py", "x = 1  # FINDING n_plus_one kind=")


def test_label_above_nothing(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="speaks of no line"):
        _read(tmp_path, "views.py", "x = 1\n# FINDING n_plus_one A.b x10\n")
