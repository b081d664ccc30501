"""What a reader of an audit can do next: each piece of advice with the command that does it.

The same for a terminal, a line each, and for a page, which sets the commands apart.
"""

import shlex
from dataclasses import dataclass

from isologit.checkpoint.hub.spec import HubSpec, parse_hub_spec
from isologit.checkpoint.wording import counted, is_plain
from isologit.errors import CheckpointError
from isologit.findings import ArithmeticFacts, Audit, MatrixFacts
from isologit.output.verdicts import alike, only_read
from isologit.record import Model

#: Stands for the model, and for a class, where no particular one is meant.
MODEL, LABEL = "MODEL", "LABEL"


@dataclass(frozen=True)
class Advice:
    """Why, which command, and the words that follow it, with the blank or comma before them."""

    why: str
    command: str
    then: str = ""

    def line(self) -> str:
        """Return it as one line of text."""
        return (f"{self.why}: " if self.why else "") + self.command + self.then


def model_argument(model: Model) -> str:
    """Return the model as a shell takes it: of the hub the commit that was audited.

    ``MODEL`` stands for one whose name cannot be shown on a line, and so not copied either.
    """
    spec = model.spec
    if model.source == "hub" and model.revision:
        try:
            of_hub = parse_hub_spec(spec)
        except CheckpointError:
            of_hub = None
        if of_hub is not None:
            spec = str(HubSpec(of_hub.repo_id, model.revision, of_hub.file))
    return _quoted(spec, MODEL)


def same_model(findings: Audit) -> str:
    """Return the model, and the options that read the same matrix and tokenizer of it again."""
    matrix, tokens = findings.matrix, findings.tokens
    words = [model_argument(findings.model)]
    if matrix.role == "input":
        words += ["--role", "input"]
    if (tensor := named_tensor(matrix)) is not None:
        words += ["--tensor", _quoted(tensor, "NAME")]
    if tokens is not None and tokens.tokenizer.named is not None:
        words += ["--tokenizer", _quoted(tokens.tokenizer.named, "FILE")]
    return " ".join(words)


def named_tensor(matrix: MatrixFacts) -> str | None:
    """Return the tensor that ``--tensor`` named; None where W was found."""
    return matrix.tensor if matrix.why.startswith("named by --tensor") else None


def computed_as(arithmetic: ArithmeticFacts, matrix: MatrixFacts) -> list[str]:
    """Return the options that compute figures in the same way."""
    words = []
    if arithmetic.name != "exact":
        words += ["--arithmetic", _quoted(f"torch:{arithmetic.device}", "torch")]
    if arithmetic.logit_dtype != matrix.values_dtype:
        words += ["--dtype", arithmetic.logit_dtype]
    return words


def audit_again(findings: Audit) -> str:
    """Return the command of an audit, as far as its findings tell how it was."""
    arithmetic, reference = findings.arithmetic, findings.reference
    words = ["isologit", "audit", same_model(findings), *computed_as(arithmetic, findings.matrix)]
    if reference.kind == "pole":
        words.append(f"--pole={reference.lat_deg},{reference.lon_deg}")
        if reference.axes is not None and reference.axes != [2, 1, 3]:
            words.append("--axes=" + ",".join(map(str, reference.axes)))
    if findings.cluster is not None and findings.cluster.method == "members":
        words += ["--members", "FILE"]
    if findings.state.rescaled_from is not None:
        words.append("--reachable")
    return " ".join([*words, "-o", "DIR"])


def what_to_do(findings: Audit, model: str = MODEL, label: str = LABEL) -> list[Advice]:
    """Return the commands that go on from here, of what was found.

    Parameters
    ----------
    findings
        Without a tokenizer there is no advice.
    model
        How the commands name the model, with the options that they all take.
    label
        The row class that is listed.
    """
    facts = findings.tokens
    if facts is None:
        return []
    told = []
    if facts.padding and not only_read(findings.matrix):
        told.append(
            Advice(
                f"{counted(facts.padding, 'padding row')} can be sampled",
                f"isologit export {model} --as vllm-allowed",
                " (or openai, transformers, llama.cpp, …) writes a mask",
            )
        )
    if facts.in_classes:
        told.append(
            Advice(
                "tokens with one row cannot be told apart by anything after it",
                f"isologit tokens {model} --class {label}",
                " lists those of a class",
            )
        )
    if facts.evidence is not None and (strong := facts.evidence.grades["strong"]):
        bear = "bears" if strong == 1 else "bear"
        told.append(
            Advice(
                f"{counted(strong, 'row')} {bear} strong signs of no training",
                f"isologit tokens {model} --grade strong",
                " lists them, with the reasons",
            )
        )
    gate = Advice("", f"isologit check {model} --policy FILE", " holds a release to rules")
    return [*told, gate] if told else []


def further_questions(findings: Audit, model: str = MODEL) -> list[Advice]:
    """Return what an audit leaves to other commands, because it costs or needs more."""
    shadowed = findings.matrix.shape[0] - alike(findings.rows, findings.matrix).distinct
    alone = "can every token be the one argmax"
    if shadowed:
        verb = "repeats another's and is" if shadowed == 1 else "repeat another's and are"
        alone = (
            f"{counted(shadowed, 'row')} {verb} never the one argmax (exact); can every other be"
        )
    return [
        Advice(
            "which tokens does no prompt tell apart by more than 1 nat",
            f"isologit gap {model} --within 1",
        ),
        Advice(alone, f"isologit never-top {model} --domain reachable"),
        Advice("what would f16, 8 bits or GGUF's blocks merge", f"isologit cast {model}"),
        Advice(
            "which tokens do many hidden states leave together, and is greedy decoding certain "
            "there",
            f"isologit classes {model} --random 1000",
            ", or --state FILE for states that you captured",
        ),
        Advice(
            "why do tokens tie at a state, pair by pair",
            f"isologit classes {model} --token ID --explain",
        ),
        Advice("what changed since another checkpoint", f"isologit diff OLDER {model}"),
    ]


def _quoted(text: str, else_this: str) -> str:
    """Return a word as a shell takes it; one that cannot be shown cannot be copied either."""
    return shlex.quote(text) if text and is_plain(text) else else_this
