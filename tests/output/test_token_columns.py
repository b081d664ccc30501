"""What `tokens.parquet` holds of tokens is what `tokens --json` lists, row for row."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tokenizers import AddedToken

from checkpoints import gaussian, write_llama
from cli.command import isologit
from tokens.small_tokenizers import byte_level, save

N_IDS = 262


@pytest.mark.parametrize("n_rows", [N_IDS + 14, N_IDS, 203])
def test_the_columns_of_tokens_are_what_the_listing_says(n_rows: int, tmp_path: Path) -> None:
    values = gaussian(n_rows, 8, seed=3)
    values[-6:] = values[-6]
    made = byte_level(
        [" ที่", "ab", "xy", "<unused7>", "日の"],
        [("a", "b")],
        added=[AddedToken("<s>", special=True)],
    )
    model = save(made, write_llama(tmp_path / "m", values))
    assert isologit("audit", model, "-o", tmp_path / "out").code == 0
    table = pq.read_table(tmp_path / "out" / "tokens.parquet")
    table.validate(full=True)
    listed = isologit("tokens", model, "--evidence", "--json").json
    rows = table.to_pylist()
    assert len(rows) == len(listed["tokens"]) == n_rows
    for row, token in zip(rows, listed["tokens"], strict=True):
        assert row["token_id"] == token["id"]
        assert (None if row["bytes"] is None else row["bytes"].hex()) == token["bytes"]
        for name in (
            *("text", "type", "category", "reserved_name", "script"),
            *("survives", "reachable", "cause", "reencoded", "row_class", "evidence"),
        ):
            assert row[name] == token[name], (token["id"], name)
        assert row["evidence_why"] == ("; ".join(token["evidence_why"]) or None), token["id"]
    summary = listed["summary"]
    counted = Counter(row["category"] for row in rows)
    assert {name: n for name, n in summary["categories"].items() if n} == counted
    assert summary["unreachable"] == sum(row["survives"] is False for row in rows)
    assert summary["scripts"] == Counter(row["script"] for row in rows if row["script"] is not None)
