"""What an audit leaves to other commands, because it costs more than the audit or needs more."""

from isologit.checkpoint.wording import counted
from isologit.findings import Audit


def further_questions(findings: Audit) -> list[str]:
    """Return a question a line, and the command that answers it."""
    shadowed = findings.rows.redundant
    alone = "can every token be the one argmax"
    if shadowed:
        verb = "repeats another's and is" if shadowed == 1 else "repeat another's and are"
        alone = (
            f"{counted(shadowed, 'row')} {verb} never the one argmax (exact); can every other be"
        )
    return [
        "which tokens does no prompt tell apart by more than 1 nat: isologit gap MODEL --within 1",
        f"{alone}: isologit never-top MODEL --domain reachable",
        "what would f16, 8 bits or GGUF's blocks merge: isologit cast MODEL",
        "which tokens do many hidden states leave together, and is greedy decoding certain there: "
        "isologit classes MODEL --random 1000, or --state FILE for states that you captured",
        "why do tokens tie at a state, pair by pair: isologit classes MODEL --token ID --explain",
        "what changed since another checkpoint: isologit diff OLDER MODEL",
    ]
