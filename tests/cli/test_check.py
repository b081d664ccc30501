"""``isologit check``: exit codes, the page, JSON, annotations, and the page of the docs."""

import json
import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from tokenizers import AddedToken

from chat_models import CONFIG, N_ROWS, START, rows, write_chat_model
from checkpoints import write_llama
from cli.command import finished, isologit, start
from documentation.blocks import the_block
from isologit.checking import Check
from isologit.findings import MatrixFacts
from isologit.output.check_page import github_annotations, github_log
from isologit.policy import read_policy
from isologit.record import Model
from isologit.rule_facts import RuleResult, TokenAtFault
from isologit.rules import RULES
from tokens.small_tokenizers import byte_level, save

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDE = (DOCS / "gate-a-release.md").read_text(encoding="utf-8")
EXAMPLE = DOCS / "examples" / "policy.toml"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose <|start|> has the row of another token."""
    values = rows()
    values[START] = values[5]
    return write_chat_model(tmp_path / "m", values)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text("[rules]\ntemplate-tokens-trained = true\nmax-padding-rows = 3\n")
    return path


class TestExitCodes:
    """0 where all is kept, 1 where a rule is broken, 2 for misuse, 39 for a damaged policy."""

    def test_a_broken_rule_is_1_with_its_tokens(self, model: Path, policy: Path) -> None:
        ran = isologit("check", model, "--policy", policy)
        assert (ran.code, ran.err) == (1, "")
        lines = ran.out.splitlines()
        assert lines[0] == f"✗ m breaks 1 of 2 rules of {policy}"
        assert lines[2] == "✗ template-tokens-trained"
        assert lines[4].startswith('    258 "<|start|>": duplicated: 1 other token with its row')
        assert "✓ max-padding-rows = 3" in lines

    def test_the_process_exits_with_it(self, model: Path, policy: Path) -> None:
        ran = finished(start("check", model, "--policy", policy, "-q"))
        assert (ran.code, ran.err) == (1, "")
        policy.write_text("[rules]\nmax-padding-rows = 3\n")
        ran = finished(start("check", model, "--policy", policy, "-q"))
        assert (ran.code, ran.err) == (0, "")

    def test_all_kept_is_0(self, tmp_path: Path, policy: Path) -> None:
        ran = isologit("check", write_chat_model(tmp_path / "good"), "--policy", policy)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith(f"✓ good keeps 2 rules of {policy}\n")

    def test_a_rule_that_cannot_be_told_is_1_or_shown_as_such(
        self, tmp_path: Path, policy: Path
    ) -> None:
        bare = write_llama(tmp_path / "bare", rows())
        ran = isologit("check", bare, "--policy", policy)
        assert ran.code == 1
        assert ran.out.count("  cannot be told: there is no tokenizer beside") == 2
        with policy.open("a") as file:
            file.write('[when-unknown]\ntemplate-tokens-trained = "pass"\n')
            file.write('max-padding-rows = "pass"\n')
        ran = isologit("check", bare, "--policy", policy)
        assert ran.code == 0
        opening = f"✓ bare keeps 2 rules of {policy}, 2 of which could not be told\n"
        assert ran.out.startswith(opening)
        assert "\n– max-padding-rows = 3\n" in ran.out

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("[rules]\nmax-paddign-rows = 3", "did you mean max-padding-rows? known are template-"),
            ("[rule]\nmax-padding-rows = 3", "did you mean rules? known are rules, allow, when-"),
            ("", "has no rule that is on"),
        ],
    )
    def test_misuse_is_2_before_anything_is_read(self, policy: Path, text: str, told: str) -> None:
        policy.write_text(text)
        ran = isologit("check", "nowhere", "--policy", policy)
        assert (ran.code, ran.out) == (2, "")
        assert "Error: Invalid value for --policy: " in ran.err
        assert told in ran.err

    def test_a_policy_is_asked_for_and_one_output_at_most(self, model: Path, policy: Path) -> None:
        ran = isologit("check", model)
        assert (ran.code, ran.out) == (2, "")
        assert "Missing option '--policy'" in ran.err
        ran = isologit("check", model, "--policy", policy, "--json", "--github")
        assert (ran.code, ran.out) == (2, "")
        assert "give one of them" in ran.err

    def test_a_damaged_policy_and_one_that_is_not_there_are_39(
        self, model: Path, policy: Path
    ) -> None:
        policy.write_text("[rules]\nmax-padding-rows = 'many'\n")
        ran = isologit("check", model, "--policy", policy)
        assert (ran.code, ran.out) == (39, "")
        assert ran.err == (
            f'PolicyError: {policy}: rules.max-padding-rows is "many"; expected an integer from 0 '
            "on, or false\n"
        )
        assert isologit("check", model, "--policy", "nowhere.toml").code == 39

    def test_a_base_that_is_not_there_is_its_own_error(self, model: Path, policy: Path) -> None:
        policy.write_text('[rules]\nno-new-row-classes-since = "./nowhere"\n')
        ran = isologit("check", model, "--policy", policy)
        assert (ran.code, ran.out) == (3, "")
        assert ran.err.startswith(f"CheckpointNotFoundError: BASE of {policy}: ./nowhere ")


def test_json_holds_every_rule_and_every_token(model: Path, policy: Path) -> None:
    policy.write_text("[rules]\nmax-padding-rows = 1\nmax-redundant-rows-percent = 0.5\n")
    ran = isologit("check", model, "--policy", policy, "--json")
    assert (ran.code, ran.err) == (1, "")
    assert ran.json["schema"] == "isologit.check/1"
    assert ran.json["model"]["name"] == "m"
    assert len(ran.json["matrix"]["sha256"]) == 64
    assert ran.json["passed"] is False
    padding, redundant = ran.json["rules"]
    assert padding == {
        "rule": "max-padding-rows",
        "setting": 1,
        "passed": False,
        "evaluated": True,
        "tokens": [{"id": i, "token": "no token", "why": None} for i in range(261, N_ROWS)],
        "allowed": [],
        "message": "3 padding rows, where up to 1 may be",
    }
    assert (redundant["setting"], redundant["passed"]) == (0.5, True)


def obeyed(line: str) -> tuple[str, dict[str, str], str] | None:
    """Return the command that a runner takes from a line, by the rules of its source."""
    found = re.match(r"\s*::(\w[\w-]*)( [^:]*)?::(.*)", line)
    if found is None:
        return ("older", {}, line) if "##[" in line else None
    pairs = (pair.split("=", 1) for pair in (found[2] or "").strip().split(",") if pair)
    return found[1], {name: decoded(value) for name, value in pairs}, decoded(found[3])


def decoded(value: str) -> str:
    each = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}
    return re.sub("%(0D|0A|3A|2C|25)", lambda match: each[match[0]], value)


HOSTILE = (
    "\n::error title=forged::forged",
    "::add-mask::a",
    "a\r\n  ::stop-commands::x",
    "##[error]forged",
    "###[[add-path]/tmp",
    "#\u00ad#[error]forged",
    "#\ufe0f#[error]forged",
    "100%0A::error::forged",
    "%250A,:title=x",
    "\u2028::error::forged",
)


class TestGitHub:
    """Annotations that a runner obeys, and nothing else that it does."""

    def test_each_broken_rule_is_an_error_with_its_first_tokens(
        self, model: Path, policy: Path
    ) -> None:
        ran = isologit("check", model, "--policy", policy, "--github")
        assert (ran.code, ran.err) == (1, "")
        page = isologit("check", model, "--policy", policy).out.splitlines()
        assert [line.rstrip() for line in page] == ran.out.splitlines()[:-1]
        command = obeyed(ran.out.splitlines()[-1])
        assert command is not None
        name, properties, message = command
        assert name == "error"
        assert properties == {"title": "isologit: m breaks template-tokens-trained"}
        told = message.splitlines()
        assert told[0] == "of 2 tokens that a chat needs 1 is duplicated, untrained or padding"
        assert told[1].startswith('  258 "<|start|>": duplicated: 1 other token with its row')

    def test_a_policy_that_is_kept_has_none(self, tmp_path: Path, policy: Path) -> None:
        good = write_chat_model(tmp_path / "good")
        ran = isologit("check", good, "--policy", policy, "--github")
        assert ran.code == 0
        assert not [line for line in ran.out.splitlines() if obeyed(line)]

    def test_a_runner_that_asks_for_colour_gets_whole_lines(
        self, model: Path, policy: Path
    ) -> None:
        plain = isologit("check", model, "--policy", policy, "--github")
        process = start(
            *("check", model, "--policy", policy, "--github"),
            environment={"FORCE_COLOR": "1", "COLUMNS": "40", "GITHUB_ACTIONS": "true"},
        )
        ran = finished(process)
        assert (ran.code, ran.out) == (1, plain.out)

    def test_no_token_forges_a_command(self, tmp_path: Path, policy: Path) -> None:
        """Through a tokenizer's file and a chat template, as such a token would come."""
        special = [AddedToken(text, special=True) for text in HOSTILE]
        model = tmp_path / "##[error]model"
        values = rows(256 + 2 + len(HOSTILE))
        values[-len(HOSTILE) :] = values[0]
        write_llama(model, values, "f32")
        save(byte_level(["ab", "cd"], [("a", "b")], added=special), model)
        config = {"chat_template": "|".join(HOSTILE), "eos_token": "##[error]eos::x\n::error::y"}
        (model / "tokenizer_config.json").write_text(json.dumps(CONFIG | config))
        policy.write_text(
            "[rules]\ntemplate-tokens-trained = true\nmax-redundant-rows-percent = 0\n"
        )
        ran = isologit("check", model, "--policy", policy, "--github")
        assert ran.code == 1
        # The runner's lines end where .NET's do.
        lines = re.split(r"\r\n|[\n\r\f\x85\u2028\u2029]", ran.out)
        commands = [command for line in lines if (command := obeyed(line))]
        assert [name for name, *_ in commands] == ["error", "error"]
        assert all(list(properties) == ["title"] for _, properties, _ in commands)
        assert "##[" not in ran.out
        assert "\\u0023[error]model breaks 2 of 2 rules" in ran.out
        # Its text is told all the same, in escapes.
        assert '"\\n::error title=forged::forged"' in ran.out

    def test_what_is_told_comes_back_as_it_was(self) -> None:
        told = "50 %, a: b, %0A and \\ all"
        (line,) = github_annotations(self.check(told, "m:x,y%"))
        command = obeyed(line)
        assert command is not None
        assert command[1] == {"title": "isologit: m:x,y% breaks max-padding-rows = 1"}
        assert command[2].splitlines() == [told, '  7 "t": why']

    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_no_message_forges_one(self, hostile: str) -> None:
        check = self.check(hostile, hostile, why=hostile, notes=(hostile,))
        lines = re.split(r"\r\n|[\n\r\f\x85\u2028\u2029]", github_log(check))
        assert [command[0] for line in lines if (command := obeyed(line))] == ["error"]
        assert not [line for line in lines if re.search(r"#[^\x00-\x7f]*\[", line)]

    def check(
        self, message: str, name: str, why: str = "why", notes: tuple[str, ...] = ()
    ) -> Check:
        """Return a check whose one rule is broken, with words from elsewhere."""
        facts = MatrixFacts(
            tensor="W",
            role="output",
            tied=None,
            shape=[1, 1],
            dtype="bf16",
            values_dtype="bf16",
            sha256="",
            why="",
        )
        result = RuleResult(
            rule="max-padding-rows",
            setting=1,
            passed=False,
            evaluated=True,
            tokens=[TokenAtFault(id=7, token='"t"', why=why)],
            allowed=[],
            message=message,
        )
        return Check(
            isologit="0",
            model=Model(spec="m", source="directory", revision=None, name=name),
            matrix=facts,
            policy="policy.toml",
            passed=False,
            rules=[result],
            notes=list(notes),
        )


class TestGuide:
    """What docs/gate-a-release.md shows is what there is; its runs are among those of all pages."""

    def test_the_policy_of_the_examples_is_the_guide_s_and_is_read(self, tmp_path: Path) -> None:
        example = read_policy(EXAMPLE)
        (tmp_path / "shown.toml").write_text(the_block("docs/gate-a-release.md", "toml").text)
        guide = read_policy(tmp_path / "shown.toml")
        assert (example.rules, example.pass_unknown) == (guide.rules, guide.pass_unknown)
        # The one that names a BASE waits in a comment.
        assert {*example.rules, "no-new-row-classes-since"} == RULES.keys()
        assert "# no-new-row-classes-since = " in EXAMPLE.read_text()

    def test_every_rule_is_explained(self) -> None:
        table = re.findall(r"^\| `([a-z-]+)` \|", GUIDE, re.MULTILINE)
        assert table == list(RULES)

    def test_the_workflow_runs_the_command(self) -> None:
        content = (DOCS / "examples" / "isologit.yml").read_text(encoding="utf-8")
        workflow = yaml.safe_load(content)
        assert {"name", "permissions", "env", "jobs"} < workflow.keys()
        # YAML 1.1 reads the key on as true.
        assert set(workflow[True]) == {"pull_request", "push", "workflow_dispatch"}
        assert set(workflow["env"]) == {"ISOLOGIT", "MODEL"}
        steps = workflow["jobs"]["check"]["steps"]
        commands = [step["run"] for step in steps if "run" in step]
        assert commands[0] == 'python -m pip install "isologit @ $ISOLOGIT"'
        assert 'isologit check "$MODEL" --policy policy.toml --github\n' in commands[1]
        assert sum("actions/cache@" in step.get("uses", "") for step in steps) == 1
        assert all("${{" not in command for command in commands)
