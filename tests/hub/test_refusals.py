"""What the hub refuses, and when it is waited for: each its own error, one line, no token in it."""

import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from huggingface_hub import constants

from hub.hub_server import Answer, Hub, cuts, resets, says
from hub.published import FILE, NORM, W, fetched, folder_of, forget_everything, opened, true_bytes
from isologit import errors
from isologit.checkpoint.hub import patience
from isologit.checkpoint.hub.failures import Subject, failure_of
from isologit.checkpoint.hub.model import HubModel

TOKEN = "hf_" + "SecretSecretSecret"


@pytest.fixture
def folder(tmp_path: Path, hub: Hub) -> Path:
    """A small model, published as org/name."""
    folder = folder_of(tmp_path / "small", rows=64)
    hub.add("org/name", folder)
    return folder


def refusal(text: str, error: type[errors.HubError]) -> str:
    """Return the message of the error that all of a model's use raises somewhere."""
    with pytest.raises(errors.HubError) as refused:
        use(opened(text))
    message = str(refused.value)
    assert type(refused.value) is error, message
    assert message.isprintable()
    assert TOKEN not in message
    return message


def use(model: HubModel) -> None:
    model.path("config.json")
    fetched(model)
    fetched(model, NORM)


class TestAccess:
    """Missing, private, gated: what the hub tells apart, and what it does not."""

    def test_a_missing_model_without_a_token_may_also_be_private(
        self, hub: Hub, folder: Path
    ) -> None:
        message = refusal("org/nothing", errors.HubAccessError)
        assert "org/nothing does not exist on" in message
        assert "or is private" in message
        assert "HF_TOKEN" in message
        assert "hf auth login" in message
        assert hub.endpoint in message

    def test_a_missing_model_with_a_token_may_be_one_that_it_may_not_see(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        message = refusal("org/nothing", errors.HubModelNotFoundError)
        assert "org/nothing does not exist on" in message
        assert "private and the token" in message

    def test_a_missing_revision_is_named(self, hub: Hub, folder: Path) -> None:
        message = refusal("org/name@v7", errors.HubModelNotFoundError)
        assert "org/name has no revision v7" in message
        missing = "0" * 40
        assert missing in refusal(f"org/name@{missing}", errors.HubModelNotFoundError)

    def test_a_private_model_needs_the_right_token(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.tokens["org/name"] = TOKEN
        assert "or is private" in refusal("org/name", errors.HubAccessError)
        monkeypatch.setenv("HF_TOKEN", "hf_another")
        assert "may not see it" in refusal("org/name", errors.HubModelNotFoundError)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        use(opened("org/name"))

    def test_a_token_that_is_none_is_refused(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.misbehave("listing", says(401, "", "Invalid credentials in Authorization header"))
        message = refusal("org/name", errors.HubAccessError)
        assert "refused the token" in message
        assert "hf auth login" in message

    @pytest.mark.parametrize("token", [f"{TOKEN}é", f"{TOKEN}\x7f\x00"])
    def test_a_token_that_cannot_be_sent_is_not_shown(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, token: str
    ) -> None:
        constants_path = Path(constants.HF_TOKEN_PATH)
        constants_path.parent.mkdir(parents=True, exist_ok=True)
        constants_path.write_text(token)
        message = refusal("org/name", errors.HubAccessError)
        assert "the token cannot be used" in message

    def test_a_gated_model_says_where_its_terms_are(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.gated["org/name"] = TOKEN
        for token in (None, "hf_another"):
            if token:
                monkeypatch.setenv("HF_TOKEN", token)
            message = refusal("org/name", errors.HubGatedError)
            assert f"Accept them at {hub.endpoint}/org/name" in message
            with pytest.raises(errors.HubGatedError):
                opened("org/name").container(FILE)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        use(opened("org/name"))

    def test_what_is_forbidden_is_said_to_be(self, hub: Hub, folder: Path) -> None:
        hub.misbehave("listing", says(403, "", "Access to this resource is disabled."))
        assert "forbids it (HTTP 403)" in refusal("org/name", errors.HubAccessError)
        hub.misbehave("listing", says(403, "", "no"))
        assert "forbids it (HTTP 403)" in refusal("org/name", errors.HubAccessError)

    @pytest.mark.parametrize("status", [400, 402, 409, 418, 451, 501])
    def test_any_other_answer_is_an_error_too(self, hub: Hub, folder: Path, status: int) -> None:
        hub.misbehave("listing", says(status, "", "evil \x1b[31m"))
        assert f"HTTP {status}" in refusal("org/name", errors.HubTransferError)

    def test_a_small_file_that_is_refused_has_the_same_errors(self, hub: Hub, folder: Path) -> None:
        model = opened("org/name")
        for answer, error in (
            (says(404, "EntryNotFound"), errors.HubModelNotFoundError),
            (says(404, "RepoNotFound"), errors.HubModelNotFoundError),
            (says(403, "GatedRepo"), errors.HubGatedError),
            (says(401), errors.HubAccessError),
            (says(403), errors.HubAccessError),
            (lambda a: a.send(200, b"no hub"), errors.HubTransferError),
        ):
            hub.behave()
            hub.misbehave("resolve", answer)
            with pytest.raises(error) as refused:
                model.path("config.json")
            assert str(refused.value).isprintable()


class TestToken:
    """It goes to the hub, and to nobody else."""

    def test_the_hub_gets_it_and_the_other_host_does_not(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.tokens["org/name"] = TOKEN
        use(opened("org/name"))
        ours = hub.of("listing", "resolve")
        assert {seen.token for seen in ours} == {f"Bearer {TOKEN}"}
        assert hub.asked["cdn"] >= 3
        assert {seen.token for seen in hub.of("cdn")} == {None}
        agents = [seen.headers["user-agent"] for seen in hub.of("listing", "resolve", "cdn")]
        assert all("isologit/" in agent and "hf_hub/" in agent for agent in agents)

    def test_the_hub_gets_it_for_ranges_too(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hub.holdings._LARGE", ())
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.add("org/small", folder)
        hub.tokens["org/small"] = TOKEN
        model = opened("org/small")
        assert fetched(model) == true_bytes(folder, model)
        assert {seen.token for seen in hub.of("resolve")} == {f"Bearer {TOKEN}"}

    def test_an_address_that_leads_on_does_not_get_it(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The hub gives out the file itself, and then sends the range elsewhere after all.
        monkeypatch.setattr("hub.holdings._LARGE", ())
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.add("org/small", folder)

        def sends_on(answer: Answer) -> None:
            answer.send(302, b"", Location=f"{hub.cdn}/elsewhere")

        hub.misbehave("resolve", sends_on, when=lambda seen: seen.method == "GET")
        with pytest.raises(errors.HubTransferError):
            opened("org/small").container(FILE)
        assert hub.asked["cdn"] >= 1
        assert {seen.token for seen in hub.of("cdn")} == {None}

    def test_what_a_library_says_of_it_is_not_passed_on(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "my-own-secret")
        said = f"header Bearer abc.def, {TOKEN}, my-own-secret, http://cdn/file?Signature=s3cret"
        final = failure_of(RuntimeError(said), Subject(hub.endpoint, "org/name")).final
        message = str(final)
        assert "RuntimeError: header Bearer" in message
        for secret in ("abc.def", TOKEN, "my-own-secret", "s3cret"):
            assert secret not in message

    def test_nothing_is_printed(
        self,
        hub: Hub,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.warns = True
        hub.misbehave("resolve", says(503), times=1)
        hub.misbehave("cdn", cuts, times=2)
        hub.misbehave("listing", says(429, Retry_After="0"), times=1)
        use(opened("org/name"))
        assert capfd.readouterr() == ("", "")
        assert caplog.records == []

    def test_a_process_prints_nothing_either(self, hub: Hub, folder: Path) -> None:
        hub.misbehave("resolve", says(503), times=1)
        hub.warns = True
        code = (
            "from isologit.checkpoint.hub.model import open_hub\n"
            "from isologit.checkpoint.hub.spec import parse_hub_spec\n"
            "m = open_hub(parse_hub_spec('org/name'))\n"
            f"c = m.container('{FILE}'); c.read(c.tensors['{W}']); m.path('config.json')\n"
        )
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env={**hub.environment(), "HF_TOKEN": TOKEN, "HF_HUB_ENABLE_HF_TRANSFER": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


class TestWaiting:
    """Servers that are busy are waited for, but not for ever."""

    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            *(("listing", 429), ("listing", 500), ("resolve", 502), ("resolve", 503)),
            *(("cdn", 408), ("cdn", 429), ("cdn", 504)),
        ],
    )
    def test_a_passing_failure_is_tried_again(
        self, hub: Hub, folder: Path, kind: str, status: int
    ) -> None:
        hub.misbehave(kind, says(status), times=3)  # type: ignore[arg-type]
        model = opened("org/name")
        use(model)
        assert fetched(model) == true_bytes(folder, model)

    @pytest.mark.parametrize("kind", ["listing", "resolve", "cdn"])
    def test_one_that_does_not_pass_is_given_up(self, hub: Hub, folder: Path, kind: str) -> None:
        hub.misbehave(kind, says(503))  # type: ignore[arg-type]
        assert "HTTP 503 again and again" in refusal("org/name", errors.HubTransferError)
        assert hub.asked[kind] <= patience.ATTEMPTS * 6  # type: ignore[index]

    def test_a_wait_that_is_asked_for_is_waited(self, hub: Hub, folder: Path) -> None:
        hub.misbehave("cdn", says(429, Retry_After="1"), times=1)
        begun = time.monotonic()
        use(opened("org/name"))
        assert 1 <= time.monotonic() - begun < 4

    @pytest.mark.parametrize("kind", ["listing", "resolve", "cdn"])
    @pytest.mark.parametrize(
        ("status", "headers"),
        [
            (429, {"Retry_After": "3600"}),
            (503, {"Retry_After": "3600"}),
            (429, {"RateLimit": '"api";r=0;t=3600'}),
        ],
        ids=["429", "503", "RateLimit"],
    )
    def test_one_that_is_too_long_is_named_at_once(
        self, hub: Hub, folder: Path, kind: str, status: int, headers: dict[str, str]
    ) -> None:
        hub.misbehave(kind, says(status, **headers))  # type: ignore[arg-type]
        begun = time.monotonic()
        message = refusal("org/name", errors.HubRateLimitError)
        assert time.monotonic() - begun < 2
        assert "asks to wait 3,600 s" in message
        assert "HF_TOKEN" in message

    def test_a_date_is_understood(self, hub: Hub, folder: Path) -> None:
        then = "Fri, 31 Dec 2199 23:59:59 GMT"
        hub.misbehave("listing", says(429, Retry_After=then))
        assert "asks to wait 5,4" in refusal("org/name", errors.HubRateLimitError)
        hub.behave()
        hub.misbehave("listing", says(429, Retry_After="Fri, 31 Dec 1999 23:59:59 GMT"), times=1)
        opened("org/name")
        hub.misbehave("listing", says(429, Retry_After="next week"), times=2)
        opened("org/name")

    def test_all_waits_together_are_bounded(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(patience, "LONGEST_WAIT", 1.5)
        hub.misbehave("listing", says(429, Retry_After="1"))
        begun = time.monotonic()
        refusal("org/name", errors.HubRateLimitError)
        assert 1 <= time.monotonic() - begun < 3
        assert hub.asked["listing"] == 2

    def test_a_server_that_asks_for_no_wait_again_and_again_is_given_up(
        self, hub: Hub, folder: Path
    ) -> None:
        hub.misbehave("listing", says(429, Retry_After="0"))
        refusal("org/name", errors.HubRateLimitError)
        assert hub.asked["listing"] == patience.ATTEMPTS_AS_ASKED

    @pytest.mark.parametrize("kind", ["listing", "resolve", "cdn"])
    def test_a_reset_connection_is_tried_again(self, hub: Hub, folder: Path, kind: str) -> None:
        hub.misbehave(kind, resets, times=2)  # type: ignore[arg-type]
        model = opened("org/name")
        use(model)
        assert fetched(model) == true_bytes(folder, model)

    @pytest.mark.parametrize("kind", ["listing", "resolve", "cdn"])
    def test_one_that_is_always_reset_is_given_up(self, hub: Hub, folder: Path, kind: str) -> None:
        hub.misbehave(kind, resets)  # type: ignore[arg-type]
        message = refusal("org/name", errors.HubTransferError)
        assert "the transfer broke off" in message
        assert "Try again" in message

    def test_a_server_that_says_nothing_is_given_up(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
        hub.misbehave("listing", lambda answer: time.sleep(0.5))
        begun = time.monotonic()
        assert "Timeout" in refusal("org/name", errors.HubTransferError)
        assert time.monotonic() - begun < 4


class TestUnreachable:
    """Nobody answers."""

    @pytest.fixture
    def nowhere(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> str:
        """An endpoint at which nobody listens."""
        with closing(socket.socket()) as unused:
            unused.bind(("127.0.0.1", 0))
            where = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", where)
        return where

    def test_the_endpoint_is_named(self, nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
        # Tried once more, and not as often as a hub that answers: that would take 6 s.
        monkeypatch.setattr(patience, "FIRST_PAUSE", 0.4)
        begun = time.monotonic()
        message = refusal("org/name", errors.HubOfflineError)
        assert time.monotonic() - begun < 3
        assert f"{nowhere} or the server that it points to cannot be reached" in message
        assert "HF_HUB_OFFLINE=1" in message
        assert "HF_ENDPOINT" in message

    @pytest.mark.parametrize(
        "where", ["nonsense", "ftp://x", "http://", "http://[::1", "http://x:y"]
    )
    def test_an_endpoint_that_is_none_is_an_error(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", where)
        with pytest.raises(errors.HubError) as refused:
            opened("org/name")
        assert str(refused.value).isprintable()

    def test_a_password_in_the_endpoint_is_not_shown(
        self, nowhere: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", nowhere.replace("//", "//me:secret@"))
        assert "secret" not in refusal("org/name", errors.HubOfflineError)

    def test_what_is_known_of_a_commit_needs_no_hub(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = opened("org/name")
        use(model)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(hub.endpoint, "http://127.0.0.1:9")
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        use(opened(f"org/name@{model.commit}"))
        # A small file that is not here is not waited for as long as the client would.
        shutil.rmtree(constants.HF_HUB_CACHE)
        begun = time.monotonic()
        with pytest.raises(errors.HubOfflineError):
            opened(f"org/name@{model.commit}").path("config.json")
        assert time.monotonic() - begun < 3
        forget_everything(hub)
        with pytest.raises(errors.HubOfflineError):
            opened(f"org/name@{model.commit}")
