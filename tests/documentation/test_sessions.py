"""What is shown is held to what is printed: nothing is left out without a sign, nothing added."""

from pathlib import Path

import pytest

from documentation.sessions import Session, commands_of, first_not_printed, shown_in, with_programs

PRINTED = ["a", "b", "", "c  ", "b", "d"]


@pytest.mark.parametrize(
    "shown",
    [
        [],
        ["a", "b", "c", "b", "d"],
        ["", "a", "", "b", "c", "b", "", "d", ""],
        ["a", "…"],
        ["…", "d"],
        ["…"],
        ["a", "…", "c", "b", "…"],
        ["…", "b", "d"],  # the second b, which d stands beside
        ["a", "…", "…", "d"],
    ],
)
def test_what_agrees_is_found_to(shown: list[str]) -> None:
    assert first_not_printed(shown, PRINTED) is None


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        (["a", "c", "…"], "c"),
        (["b", "…"], "b"),
        (["a", "b", "c"], "nothing before 'b'"),
        (["…", "c"], "nothing before 'b'"),
        (["…", "d", "…", "a"], "a"),
        (["…", "b", "e", "…"], "e"),
        (["a", "b", "c", "b", "d", "e"], "e"),
        (["  a", "…"], "  a"),
    ],
)
def test_what_differs_is_named(shown: list[str], missing: str) -> None:
    assert first_not_printed(shown, PRINTED) == missing


def test_a_block_is_taken_apart() -> None:
    assert shown_in("$ isologit demo\na\n\nb\n$ echo $?\n1\n") == [
        ("isologit demo", ["a", "", "b"]),
        ("echo $?", ["1"]),
    ]
    assert commands_of("# why\nisologit a \\\n  --b\n\nisologit c  # d\n") == [
        "isologit a   --b",
        "isologit c  # d",
    ]


def test_a_session_keeps_variables_and_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(with_programs(tmp_path))
    session = Session(tmp_path)
    assert session.run("FORMAT=$(python -c 'print(\"no-such-model\")')") == []
    assert session.variables == {"FORMAT": "no-such-model"}
    assert "no-such-model" in session.run("isologit inspect $FORMAT  # not there")[0]
    assert session.run("echo $?") == ["3"]
    assert "no-such/model" in session.run("HF_HUB_OFFLINE=1 isologit inspect no-such/model")[0]
    assert session.run("echo $?") == ["33"]
    assert session.run("isologit --version | wc -l") == ["1"]
    assert session.run("echo $?") == ["0"]


def test_what_would_install_or_fetch_is_refused(tmp_path: Path) -> None:
    for line in ("pip install isologit", "curl http://127.0.0.1/", "A=$(pip list)"):
        with pytest.raises(AssertionError, match="make it text"):
            Session(tmp_path).run(line)
