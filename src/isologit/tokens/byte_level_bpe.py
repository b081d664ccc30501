"""Byte-level merges in the `tokenizers` library: a vocabulary, merges and a way to cut text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from isologit.tokens.huggingface import asked
from isologit.tokens.settings import AddedToken
from isologit.tokens.split_rules import SplitRule

if TYPE_CHECKING:
    import tokenizers


def byte_level_bpe(
    vocabulary: Mapping[str, int],
    merges: list[tuple[str, str]],
    rule: SplitRule,
    where: str,
    *,
    added: Iterable[AddedToken] = (),
) -> "tokenizers.Tokenizer":
    """Return a complete tokenizer.

    Parameters
    ----------
    vocabulary
        Ids by piece, in GPT-2's alphabet.
    merges
        Pairs of pieces, the earlier the sooner.
    rule
        How text is cut.
    where
        The files, for messages.
    added
        Tokens that are matched whole. One that the vocabulary does not hold is put into it with its
        own id: left to itself the library gives it the next one.

    Raises
    ------
    TokenizerFileError
        The library refuses: a merge of pieces, or into one, that the vocabulary does not hold.
    """
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    placed = dict(vocabulary)
    every = {token.content: token for token in added if token.content}
    for token in every.values():
        placed.setdefault(token.content, token.token_id)
    made = asked(
        lambda: tokenizers.Tokenizer(models.BPE(placed, merges, ignore_merges=rule.ignore_merges)),
        where,
    )
    cuts: Sequence[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated")
        for pattern in rule.patterns
    ]
    to_alphabet = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([*cuts, to_alphabet])
    made.decoder = decoders.ByteLevel()
    if rule.nfc:
        made.normalizer = normalizers.NFC()
    # In two calls: each makes the library build its matcher anew.
    for special in (True, False):
        tokens = [
            tokenizers.AddedToken(token.content, special=special, **token.flags)
            for token in every.values()
            if token.special == special
        ]
        (made.add_special_tokens if special else made.add_tokens)(tokens)
    return made
