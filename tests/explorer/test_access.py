"""Nobody gets anything without the token, under another name, or from another site's page."""

import re
from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from isologit.explorer.access import CALLBACKS, Guard, new_token

TOKEN = "a" * 43
POLICY = "default-src 'none'"


@Request.application
def behind(request: Request) -> Response:
    headers = {"Cache-Control": "public", "X-Own": "1"}
    return Response(f"secret {request.path} {request.get_data(as_text=True)}", headers=headers)


def client(**options: Any) -> Client:
    return Client(Guard(behind, TOKEN, 8051, POLICY, **options), use_cookies=False)


def get(to: Client, path: str = "/", host: str = "127.0.0.1:8051", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return to.get(path, headers={"Host": host, **named})


class Welcomed(Client):
    """One that has the cookie, as a browser has after it was led on."""

    def open(self, *args: Any, headers: Any = (), **more: Any) -> Any:
        held = {"Cookie": f"isologit-8051={TOKEN}", **dict(headers)}
        return super().open(*args, headers=held, **more)


def welcomed(**options: Any) -> Client:
    return Welcomed(Guard(behind, TOKEN, 8051, POLICY, **options), use_cookies=False)


def is_refused(answer: Any, status: int = 403) -> bool:
    return answer.status_code == status and "secret" not in answer.text


def test_without_the_token_nothing_is_given() -> None:
    for path in ("/", "/?at=token:5", "/assets/x.js", "/_dash-layout", CALLBACKS, "/export/a.csv"):
        assert is_refused(get(client(), path))
    for wrong in ("", "b" * 43, TOKEN[:-1], TOKEN + "a", "\u00e9"):
        assert is_refused(get(client(), f"/?token={wrong}")) or not wrong
        assert is_refused(get(client(), Cookie=f"isologit-8051={wrong.encode().hex()}"))


def test_the_address_with_the_token_leads_to_the_one_without() -> None:
    answer = get(client(), f"/?at=token:5&token={TOKEN}&seen=cluster~sphere:1,2!rim")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "./?at=token:5&seen=cluster~sphere:1,2!rim"
    cookie = answer.headers["Set-Cookie"]
    assert cookie == f"isologit-8051={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    held = cookie.partition(";")[0]
    assert get(client(), Cookie=held).text.startswith("secret /")


def test_the_token_of_another_port_is_not_this_one_s() -> None:
    assert is_refused(get(client(), Cookie=f"isologit-8052={TOKEN}"))
    assert get(client(), Cookie=f"x=1; isologit-8051={TOKEN}").status_code == 200
    assert is_refused(get(client(), Cookie="=;;; bad\x7f,cookie"))


@pytest.mark.parametrize("host", ["127.0.0.1:8051", "localhost:8051", "[::1]:8051", "LOCALHOST"])
def test_it_answers_to_the_names_of_loopback(host: str) -> None:
    assert get(client(), host=host, Cookie=f"isologit-8051={TOKEN}").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example:8051", "localhost.evil.example", "", "10.0.0.7:8051"],
)
def test_it_answers_to_no_other_name_even_with_the_token(host: str) -> None:
    assert is_refused(get(welcomed(), host=host))
    assert is_refused(get(client(), f"/?token={TOKEN}", host=host))


def test_a_name_that_is_allowed_is_one() -> None:
    to = welcomed(hosts=frozenset({"hub.example"}))
    assert get(to, host="hub.example").status_code == 200
    assert get(to, host="hub.example:443").status_code == 200
    assert is_refused(get(to, host="other.example"))


def test_another_site_s_page_gets_nothing() -> None:
    to = welcomed()
    assert is_refused(get(to, Origin="http://evil.example"))
    assert is_refused(get(to, Origin="null"))
    # Another port of this host is another site, too.
    assert is_refused(get(to, Origin="http://127.0.0.1:9999"))
    assert get(to, Origin="http://127.0.0.1:8051").status_code == 200
    for site in ("cross-site", "same-site"):
        assert is_refused(get(to, Sec_Fetch_Site=site))
        # A link in a mail or a chat, with the token in it.
        asked = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate"}
        answer = get(client(), f"/?token={TOKEN}&at=token:5", **asked)
        assert answer.status_code == 200
        assert '<meta http-equiv="refresh" content="0;url=./?at=token:5">' in answer.text
        assert "secret" not in answer.text
        assert TOKEN in answer.headers["Set-Cookie"]
        # Without it the cookie may be there, and is not sent: what is asked again from here has it.
        answer = get(client(), "/?at=token:5", **asked)
        assert '<meta http-equiv="refresh" content="0;url=./?at=token:5">' in answer.text
        assert "secret" not in answer.text
        assert "Set-Cookie" not in answer.headers
        assert is_refused(get(client(), "/?at=token:5", Sec_Fetch_Site="same-origin"))
    assert get(to, Sec_Fetch_Site="same-origin").status_code == 200


def test_a_body_is_taken_in_one_place_as_json_and_of_a_size() -> None:
    to = welcomed()
    headers = {"Host": "127.0.0.1:8051"}

    def post(path: str, kind: str, size: int) -> Any:
        return to.post(path, data=b"x" * size, content_type=kind, headers=headers)

    assert post(CALLBACKS, "application/json", 10).text.endswith("x" * 10)
    assert is_refused(post(CALLBACKS, "text/plain", 10), 415)
    assert is_refused(post(CALLBACKS, "application/x-www-form-urlencoded", 10), 415)
    assert is_refused(post(CALLBACKS, "application/json", 300_000), 413)
    for path in ("/", "/_dash-layout", CALLBACKS + "/x", "/export/view.json"):
        assert is_refused(post(path, "application/json", 10), 405)
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        assert is_refused(to.open("/", method=method, headers=headers), 405)
    unlimited = to.post(
        CALLBACKS, content_type="application/json", headers={**headers, "Content-Length": "-1"}
    )
    assert is_refused(unlimited, 413)


def test_an_address_that_is_too_long_is_refused() -> None:
    assert is_refused(get(welcomed(), "/?at=" + "x" * 20_000), 414)
    assert is_refused(get(client(), "/?" + "&".join(f"k{n}=1" for n in range(99))))


def test_every_answer_has_the_headers_that_keep_it_here() -> None:
    to = welcomed()
    for answer in (get(to), get(client()), get(client(), f"/?token={TOKEN}")):
        headers = answer.headers
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers.getlist("Cache-Control") == ["private, no-store"]
    assert get(to).headers["X-Own"] == "1"


def test_what_was_asked_is_not_said_again() -> None:
    answer = get(client(), "/<script>alert(1)</script>?token=<img src=x>")
    assert is_refused(answer)
    assert "script>" not in answer.text
    assert "img" not in answer.text


def test_behind_a_proxy_the_cookie_and_the_way_have_its_path() -> None:
    to = client(prefix="/user/x/proxy/8051/")
    answer = get(to, f"/?token={TOKEN}&at=cluster")
    assert answer.headers["Location"] == "./?at=cluster"
    assert "Path=/user/x/proxy/8051/;" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "path",
    ["//evil.example/", "///evil.example", "/\\evil.example", "/javascript:alert(1)", "/a\r\nb"],
)
def test_the_way_leads_nowhere_else(path: str) -> None:
    asked = {"PATH_INFO": path, "QUERY_STRING": f"token={TOKEN}"}
    answer = client().open(path="/", environ_overrides=asked, headers={"Host": "localhost"})
    assert answer.status_code == 303
    way = answer.headers["Location"]
    assert way.startswith("./")
    assert re.fullmatch(r"[\w.%~-]*", way.removeprefix("./"))


def test_tokens_are_random_and_long() -> None:
    made = {new_token() for _ in range(50)}
    assert len(made) == 50
    assert min(map(len, made)) >= 43
