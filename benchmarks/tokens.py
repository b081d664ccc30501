"""Time what is found out about every token of a tokenizer beside one `encode_batch` of their texts.

    python benchmarks/tokens.py TOKENIZER.json [--turns N]

Prints medians and the ratio within each turn: loading apart, then all of a round trip, causes,
categories and scripts (`describe`), beside the library's `encode_batch` of the same strings.
"""

import argparse
import statistics
import time
from pathlib import Path

from tokenizers import Tokenizer

from isologit.tokens.huggingface import read_tokenizer_json
from isologit.tokens.scripts import token_scripts
from isologit.tokens.table import describe
from turns import Seconds, take_turns


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    library = Tokenizer.from_file(str(options.tokenizer))
    ids = [[i] for i in range(library.get_vocab_size())]
    texts = library.decode_batch(ids, skip_special_tokens=False)

    def own() -> Seconds:
        # Read anew each turn: what a vocabulary has found out once it keeps.
        tokenizer = read_tokenizer_json(options.tokenizer)
        begin = time.perf_counter()
        table = describe(tokenizer)
        elapsed = time.perf_counter() - begin
        lost = [i for i in range(len(ids)) if table.survives(i) is False]
        again = library.encode_batch([texts[i] for i in lost], add_special_tokens=False)
        wrong = sum(encoding.ids == [i] for i, encoding in zip(lost, again, strict=True))
        if wrong:
            raise SystemExit(f"WRONG: {wrong} tokens called lost come back")
        return Seconds(elapsed)

    subjects = {
        "load": lambda: read_tokenizer_json(options.tokenizer),
        "own": own,
        "encode_batch": lambda: library.encode_batch(texts, add_special_tokens=False),
    }
    token_scripts(["x"])  # its table is read once
    turns = take_turns(subjects, options.turns)
    print(f"{len(ids):,} ids of {options.tokenizer.parent.name}, {options.turns} turns")
    for name, what in (
        ("load", "read_tokenizer_json"),
        ("own", "describe: round trip, causes, categories, scripts"),
        ("encode_batch", "encode_batch of the same strings"),
    ):
        print(f"  {turns.median(name):6.2f} s  {what}")
    ratios = turns.ratios("own", "encode_batch")
    print(
        f"describe / encode_batch: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}); reach: at most 2"
    )


if __name__ == "__main__":
    main()
