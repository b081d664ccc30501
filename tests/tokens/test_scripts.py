"""Scripts of tokens: the table against `regex`, whose tables are its own, and tokens one by one."""

import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from isologit.tokens import make_scripts
from isologit.tokens.huggingface import read_tokenizer_json
from isologit.tokens.make_scripts import scripts_table
from isologit.tokens.scripts import Scripts, script_of, token_scripts
from isologit.tokens.text import text_of

NEUTRAL = ("Common", "Inherited", "Unknown")
# Unicode 18.0: 172,808 characters and 65 controls.
N_ASSIGNED = 172_873

EXCERPT = """\
# Scripts-99.1.0.txt
# Date: 2042-01-31, 12:00:00 GMT
# © 2042 Unicode®, Inc.
# For terms of use and license, see elsewhere

# Property:\tScript

0000..001F    ; Common # Cc  [32] <control-0000>..<control-001F>
0020          ; Common # Zs       SPACE
0025..002F    ; Common # Po  [11] PERCENT SIGN..SOLIDUS

# Total code points: 44

0030..003F    ; Latin # L&  [16] A..B
1F600         ; Old_Italic # Lo       C
0021..0022    ; Latin # Lo   [2] D..E

# EOF
"""

EXCERPT_TABLE = """\
# The property Script (UAX #24) of Unicode 99.1.0, made from Scripts-99.1.0.txt of 2042-01-31
# © 2042 Unicode®, Inc. Under the Unicode License v3, in LICENSE.unicode beside this file
# Changed: ranges merged, gaps filled in. By isologit.tokens.make_scripts, which says how
0000 Common
0021 Latin
0023 Unknown
0025 Common
0030 Latin
0040 Unknown
1F600 Old_Italic
1F601 Unknown
"""

# Often met, so that tokens of several scripts are; and every other character, surrogates too.
characters = st.one_of(
    st.sampled_from("aZéЖ漢字ひカー!1 \t\u0301\u200d\ufe0f\ue000\u0378\ud800\udfff😀𐌀"),
    st.characters(),
)
tokens = st.one_of(st.none(), st.text(characters, max_size=8))


def shipped() -> str:
    return files("isologit.tokens").joinpath("scripts.txt").read_text(encoding="utf-8")


def script_by_definition(text: str | None) -> str | None:
    """Return a token's script, one character after another."""
    if text is None:
        return None
    of_characters = {script_of(character) for character in text}
    letters = of_characters.difference(NEUTRAL)
    if letters:
        return "+".join(sorted(letters))
    return of_characters.pop() if len(of_characters) == 1 else "Common"


def names_of(scripts: Scripts) -> list[str | None]:
    return [scripts.name(token_id) for token_id in range(len(scripts.codes))]


def alone(text: str | None) -> str | None:
    return token_scripts([text]).name(0)


class TestTable:
    """The script of every code point."""

    def by_script(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for code_point in range(sys.maxunicode + 1):
            found.setdefault(script_of(chr(code_point)), []).append(chr(code_point))
        return found

    def test_every_code_point_has_the_script_that_a_peer_gives_it(self) -> None:
        # A later version of the peer may name what is Unknown here, and nothing else.
        for script, members in self.by_script().items():
            text = "".join(members)
            strangers = regex.sub(rf"\p{{Script={script}}}+", "", text)
            assert script == "Unknown" or not strangers, (script, strangers[:10])

    def test_as_many_code_points_have_a_script_as_the_standard_assigns(self) -> None:
        by_script = self.by_script()
        assert sum(map(len, by_script.values())) == sys.maxunicode + 1
        assert sum(map(len, by_script.values())) - len(by_script["Unknown"]) == N_ASSIGNED

    def test_nothing_that_python_knows_as_a_character_is_unknown(self) -> None:
        unknown = self.by_script()["Unknown"]
        assert {unicodedata.category(character) for character in unknown} <= {"Cn", "Co", "Cs"}

    @pytest.mark.parametrize(
        ("character", "script"),
        [
            ("a", "Latin"),
            ("Ж", "Cyrillic"),
            ("ท", "Thai"),
            ("漢", "Han"),
            ("\U00010300", "Old_Italic"),
            ("5", "Common"),
            ("ー", "Common"),
            ("\u0301", "Inherited"),
            ("\ue000", "Unknown"),
            ("\ud800", "Unknown"),
            ("\U0010ffff", "Unknown"),
        ],
    )
    def test_a_character_has_its_script(self, character: str, script: str) -> None:
        assert script_of(character) == script

    def test_the_table_is_what_the_generator_makes_of_its_ranges(self) -> None:
        version = regex.search(r"Scripts-([0-9.]+)\.txt of (\S+)\n# (©.*?) Under", shipped())
        assert version
        ranges = [line.split() for line in shipped().splitlines() if line[0] != "#"]
        ends = [int(first, 16) - 1 for first, _ in ranges[1:]] + [sys.maxunicode]
        lines = [
            f"# Scripts-{version[1]}.txt",
            f"# Date: {version[2]}",
            f"# {version[3]}",
            *(f"{r[0]}..{end:04X} ; {r[1]}" for r, end in zip(ranges, ends, strict=True)),
            "# EOF",
        ]
        assert scripts_table("\n".join(lines)) == shipped()

    def test_the_licence_of_the_data_lies_beside_it(self) -> None:
        licence = files("isologit.tokens").joinpath("LICENSE.unicode").read_text(encoding="utf-8")
        assert licence.startswith("UNICODE LICENSE V3\n")
        assert "Unicode, Inc." in licence
        assert "LICENSE.unicode" in shipped().splitlines()[1]


class TestTokens:
    """The script of a token."""

    @given(st.lists(tokens, max_size=20))
    def test_all_tokens_at_once_are_as_one_by_one(self, texts: list[str | None]) -> None:
        assert names_of(token_scripts(texts)) == [script_by_definition(text) for text in texts]

    @pytest.mark.parametrize(
        ("text", "script"),
        [
            (None, None),
            ("", "Common"),
            (" Hello", "Latin"),
            ("...", "Common"),
            ("cafe\u0301", "Latin"),
            ("食べ", "Han+Hiragana"),
            ("カー", "Katakana"),
            ("ひaЖ漢", "Cyrillic+Han+Hiragana+Latin"),
            ("\u0301\u0300", "Inherited"),
            ("1\ufe0f\u20e3", "Common"),
            ("\ue000\u0378", "Unknown"),
            ("\ue000\u0301", "Common"),
            ("\ue000 ", "Common"),
            ("\ue000x", "Latin"),
            ("\ud83d", "Unknown"),
            ("\ud83d\ude00", "Unknown"),
            ("a\udfff", "Latin"),
            ("😀", "Common"),
        ],
    )
    def test_a_token_has_the_scripts_of_its_letters(
        self, text: str | None, script: str | None
    ) -> None:
        assert alone(text) == script
        # Where it stands among others changes nothing.
        among = token_scripts(["a", None, "", text, "ひ漢", text])
        assert (among.name(3), among.name(5)) == (script, script)

    @given(st.lists(tokens, max_size=20))
    def test_names_are_those_that_occur_in_alphabetical_order(
        self, texts: list[str | None]
    ) -> None:
        scripts = token_scripts(texts)
        occurring = {script_by_definition(text) for text in texts if text is not None}
        assert scripts.names == tuple(sorted(map(str, occurring)))

    @given(st.lists(tokens, max_size=20))
    def test_counts_are_of_tokens_with_text_most_first(self, texts: list[str | None]) -> None:
        scripts = token_scripts(texts)
        counts = scripts.counts()
        assert counts == Counter(name for name in names_of(scripts) if name is not None)
        ordered = [(-count, name) for name, count in counts.items()]
        assert ordered == sorted(ordered)

    @pytest.mark.parametrize("texts", [[], [None], [None, None]])
    def test_a_vocabulary_without_text_has_no_scripts(self, texts: Sequence[str | None]) -> None:
        scripts = token_scripts(texts)
        assert scripts.codes.tolist() == [-1] * len(texts)
        assert (scripts.names, scripts.counts()) == ((), {})

    def test_an_id_without_a_token_has_no_script(self) -> None:
        scripts = token_scripts(["a", None])
        assert [scripts.name(token_id) for token_id in (-1, 0, 1, 2)] == [None, "Latin", None, None]

    def test_more_mixes_than_an_int16_counts_are_kept_apart(self) -> None:
        # All subsets of 16 letters, each of a script of its own.
        letters = "aαЖբאءܐހߊअঅਅઅଅஅఅ"
        texts = [
            "".join(letter for n, letter in enumerate(letters) if subset >> n & 1)
            for subset in range(1, 1 << len(letters))
        ]
        scripts = token_scripts(texts)
        assert len(scripts.names) == len(texts) > np.iinfo(np.int16).max
        assert scripts.name(len(texts) - 1) == script_by_definition(letters)

    def test_codes_cannot_be_written_to(self) -> None:
        codes = token_scripts(["a"]).codes
        with pytest.raises(ValueError, match="read-only"):
            codes[0] = 1

    def test_tokens_of_a_real_vocabulary_have_the_scripts_of_their_letters(
        self, shared: Path
    ) -> None:
        tokenizer = read_tokenizer_json(shared / "tokenizers" / "qwen3" / "tokenizer.json")
        each = tokenizer.vocabulary.token_bytes
        texts = [None if raw is None else text_of(raw) for raw in each]
        scripts = token_scripts(texts)
        assert names_of(scripts) == [script_by_definition(text) for text in texts]
        assert list(scripts.counts())[:3] == ["Latin", "Han", "Common"]
        assert scripts.counts()["Thai"] == sum(
            regex.search(r"\p{Script=Thai}", text or "") is not None for text in texts
        )


class TestGenerator:
    """From Scripts.txt to the table that is shipped."""

    def test_ranges_are_sorted_merged_and_without_gaps(self) -> None:
        assert scripts_table(EXCERPT) == EXCERPT_TABLE

    def test_the_order_of_the_lines_does_not_matter(self) -> None:
        head, body = EXCERPT[: EXCERPT.index("0000")], EXCERPT[EXCERPT.index("0000") :]
        lines = body.splitlines()
        reordered = head + "\n".join([*lines[-2::-1], lines[-1]])
        assert scripts_table(reordered) == EXCERPT_TABLE

    def test_a_range_may_end_at_the_last_code_point(self) -> None:
        whole = EXCERPT.replace("1F600  ", "1F600..10FFFF")
        assert scripts_table(whole) == EXCERPT_TABLE.replace("1F601 Unknown\n", "")

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("# Scripts-99.1.0.txt\n", "", "expected a Scripts.txt"),
            ("# ©", "# by", "expected a Scripts.txt"),
            ("# EOF\n", "", "cut short"),
            ("0020  ", "001F  ", r"U\+001F is in two ranges"),
            ("0025..002F", "002F..0025", "line 10: .* is no range"),
            ("1F600  ", "110000  ", "line 15: .* is no range"),
            ("; Old_Italic", ", Old_Italic", "line 15: expected 'FIRST..LAST ; Script'"),
        ],
    )
    def test_what_is_no_such_table_is_refused(self, old: str, new: str, said: str) -> None:
        assert old in EXCERPT
        with pytest.raises(ValueError, match=said):
            scripts_table(EXCERPT.replace(old, new))

    def test_the_command_writes_the_table(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, target = tmp_path / "Scripts.txt", tmp_path / "scripts.txt"
        source.write_text(EXCERPT, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["make_scripts", str(source), "--out", str(target)])
        make_scripts.main()
        assert target.read_bytes() == EXCERPT_TABLE.encode()

    def test_the_command_refuses_what_is_no_such_table_and_writes_nothing(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        source, target = tmp_path / "Scripts.txt", tmp_path / "scripts.txt"
        source.write_text("no table", encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["make_scripts", str(source), "--out", str(target)])
        with pytest.raises(SystemExit, match="2"):
            make_scripts.main()
        assert "expected a Scripts.txt" in capsys.readouterr().err
        assert not target.exists()
