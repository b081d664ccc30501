"""What the page fetches besides its texts, and what is exported, by point alone."""

import json
from collections.abc import Callable

import pyarrow as pa
import pyarrow.csv as pa_csv
from flask import Flask, Response, request
from safetensors.numpy import save

from isologit.errors import IsologitError
from isologit.explorer.map_data import group_codes, logit_codes, map_legend, places_of, tie_codes
from isologit.explorer.points import Point, parse_query
from isologit.explorer.repeating import STATE_FILE
from isologit.explorer.view import Views
from isologit.output.embedded import theme
from isologit.output.json_text import to_json
from isologit.output.seed_format import as_numpy

_BYTES = "application/octet-stream"
# Characters of a token in a table.
_LONGEST = 200


def add_routes(server: Flask, views: Views) -> None:
    """Add the routes to a server; what may ask them is the guard's to say."""

    def answered(answer: Callable[[], Response]) -> Response:
        try:
            return answer()
        except IsologitError as error:
            return _said(str(error), 400)

    def at_point(answer: Callable[[Point], Response]) -> Response:
        def asked() -> Response:
            at = parse_query(request.query_string.decode("ascii", "replace")).at
            return _said("expected ?at=POINT", 400) if at is None else answer(at)

        return answered(asked)

    @server.get("/theme.css")
    def themes() -> Response:
        return Response(theme(), mimetype="text/css")

    @server.get("/map/places")
    def places() -> Response:
        on = request.args.get("on", "axes")
        return answered(lambda: Response(places_of(views.explored, on), mimetype=_BYTES))

    @server.get("/map/legend")
    def legend() -> Response:
        return Response(json.dumps(map_legend(views.explored)), mimetype="application/json")

    @server.get("/map/groups")
    def groups() -> Response:
        given = request.args.get("by", "")
        if not given.isascii() or not given.isdigit() or len(given) > 3:
            return _said("expected ?by=N", 400)
        return answered(lambda: Response(group_codes(views.explored, int(given)), mimetype=_BYTES))

    @server.get("/map/logits")
    def logits() -> Response:
        def answer(at: Point) -> Response:
            codes, ends = logit_codes(views, at)
            return Response(codes, mimetype=_BYTES, headers={"X-Scale": json.dumps(ends)})

        return at_point(answer)

    @server.get("/map/ties")
    def ties() -> Response:
        def answer(at: Point) -> Response:
            codes, groups = tie_codes(views, at)
            return Response(codes, mimetype=_BYTES, headers={"X-Groups": json.dumps(groups)})

        return at_point(answer)

    @server.get("/map/names")
    def names() -> Response:
        given = request.args.get("ids", "")
        parts = given.split(",")[:64]
        if not all(each.isascii() and each.isdigit() and len(each) < 10 for each in parts):
            return _said("expected ?ids=1,2,3", 400)
        ids = [int(each) for each in parts if int(each) < views.explored.n_tokens]
        texts = views.explored.pictured.shown_many(ids, 60)
        found = {str(i): text for i, text in zip(ids, texts, strict=True)}
        return Response(json.dumps(found), mimetype="application/json")

    @server.get("/export/tokens.csv")
    def tokens() -> Response:
        return at_point(lambda at: _file("tokens.csv", "text/csv", _csv(views, at)))

    @server.get(f"/export/{STATE_FILE}")
    def state() -> Response:
        return at_point(lambda at: _file(STATE_FILE, _BYTES, _state(views, at)))

    @server.get("/export/view.json")
    def view() -> Response:
        def answer(at: Point) -> Response:
            top = parse_query(request.query_string.decode("ascii", "replace")).top
            text = to_json(views.view(at, top))
            return _file("view.json", "application/json", f"{text}\n".encode())

        return at_point(answer)


def _state(views: Views, at: Point) -> bytes:
    """Return the state of a point as safetensors, under the name that ``--state`` looks for."""
    metadata = {"isologit": views.explored.findings.isologit, "at": str(at)}
    saved: bytes = save({"hidden_states": as_numpy(views.state(at).vector)}, metadata)
    return saved


def _csv(views: Views, at: Point) -> bytes:
    """Return all tokens at a point: id, text, kind, logit, and the labels and sizes of classes."""
    explored = views.explored
    logits, rows = views.logits(at), explored.pictured
    classes, ids = logits.partition, range(explored.n_tokens)
    table = pa.table(
        {
            "token_id": pa.array(ids, pa.int32()),
            "token": [plain_cell(text) for text in rows.shown_many(ids, _LONGEST)],
            "kind": [explored.kind(i) for i in ids],
            "logit": logits.values,
            "logit_hex": [value.hex() for value in logits.values.tolist()],
            "logit_class": classes.labels,
            "logit_class_size": classes.n_others() + 1,
            "row_class": rows.row_classes,
            "row_class_size": rows.row_class_sizes,
        }
    )
    out = pa.BufferOutputStream()
    pa_csv.write_csv(table, out)
    found: bytes = out.getvalue().to_pybytes()
    return found


def plain_cell(text: str) -> str:
    """Return a token's text so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _file(name: str, kind: str, content: bytes) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, mimetype=kind, headers=headers)


def _said(text: str, status: int) -> Response:
    return Response(f"{text}\n", status=status, mimetype="text/plain")
