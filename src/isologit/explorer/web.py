"""The page of the explorer: a Dash application whose only state is its address."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import dash
from dash import ClientsideFunction, Dash, Input, Output, State, no_update

from isologit.errors import IsologitError
from isologit.explorer import panels
from isologit.explorer.data_routes import add_routes
from isologit.explorer.layout import INDEX, layout
from isologit.explorer.points import (
    Asked,
    ClusterPoint,
    MixPoint,
    Point,
    TokenPoint,
    parse_point,
    parse_query,
)
from isologit.explorer.search import Search
from isologit.explorer.states_at import title
from isologit.explorer.view import Views
from isologit.output.embedded import seen

_FOUND_SHOWN = 20
_EMPTY = Asked()

# What is in the fields, and the text of the point that they and what is looked at come to.
Values = dict[str, Any]
Wanted = Callable[[Values, Point], str | None]
html: Any = dash.html


def make_app(views: Views, prefix: str = "/") -> Dash:
    """Return the application.

    Parameters
    ----------
    views
        What it asks.
    prefix
        The path that a proxy has in front of all others, with a slash at both ends.
    """
    explored = views.explored
    app = Dash(
        "isologit.explorer",
        assets_folder=str(_assets()),
        requests_pathname_prefix=prefix,
        routes_pathname_prefix="/",
        # Dash puts it into the page as it is.
        title=escape(f"{seen(explored.findings.model.name)}: isologit explorer"),
        update_title="",
        # Dash looks for pages and serves its callbacks to language models; neither is meant.
        use_pages=False,
        enable_mcp=False,
        serve_locally=True,
        compress=False,
        add_log_handler=False,
    )
    app.index_string = INDEX.replace("PREFIX", prefix)
    app.layout = lambda: layout(explored)
    add_routes(app.server, views)
    _add_callbacks(app, views, prefix)
    return app


def policy(app: Dash) -> str:
    """Return the Content-Security-Policy that the application works under."""
    hashes = " ".join(app.csp_hashes())
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' {hashes}",
            # plotly.js and Dash set rules and attributes as they draw.
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "font-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
        ]
    )


def default_point(views: Views) -> Point:
    """Return what is looked at before anything was pointed at."""
    if views.explored.findings.cluster is not None:
        return Point(ClusterPoint())
    return Point(TokenPoint(0))


def _assets() -> Path:
    return Path(__file__).parent / "assets"


def _asked(search: str | None, views: Views) -> Asked:
    """Return what the address asks for; of nothing, the default."""
    found = parse_query(search or "")
    return found if found.at is not None else Asked(default_point(views), found.seen, found.top)


def _add_callbacks(app: Dash, views: Views, prefix: str) -> None:
    def told(error: IsologitError) -> Any:
        return html.P(seen(str(error)), className="error")

    @app.callback(
        Output("error", "children"),
        Output("title", "children"),
        Output("verdict", "children"),
        Output("histogram", "figure"),
        Output("histogram-key", "children"),
        Output("top", "children"),
        Output("classes", "children"),
        Output("state", "children"),
        Output("greedy", "children"),
        Output("visited", "children"),
        Output("exports", "children"),
        Output("here", "data"),
        Output("rim", "value"),
        Output("share", "value"),
        Output("share-said", "children"),
        Output("second", "value"),
        Input("url", "search"),
    )
    def look(search: str | None) -> tuple[Any, ...]:
        try:
            asked = _asked(search, views)
            at = asked.at
            assert at is not None
            view = views.view(at, asked.top)
            met = views.visited(asked.visited)
        except IsologitError as error:
            return (told(error), *[no_update] * 15)
        mixed = at.at if isinstance(at.at, MixPoint) else None
        share = 0.0 if mixed is None else mixed.thousandths / 10
        return (
            None,
            seen(view.title),
            panels.verdict(view, views.explored.n_tokens),
            panels.histogram(view.histogram, view),
            panels.histogram_key(view.histogram),
            panels.top(view, asked),
            panels.classes(view, views.explored.n_tokens),
            panels.state(view),
            panels.greedy(view),
            panels.visited(met, asked, [title(views.explored, each) for each in asked.visited]),
            panels.exports(view, asked, prefix),
            {
                "at": str(at),
                "token": view.token,
                "seen": [p.at.token_id for p in asked.visited if isinstance(p.at, TokenPoint)],
            },
            ["rim"] if at.rim else [],
            share,
            f"{share:g} %",
            no_update if mixed is None else str(mixed.b),
        )

    # Asked for once the first has answered, so that it has the processor to itself.
    @app.callback(Output("ties", "children"), Input("here", "data"), State("url", "search"))
    def explain(_here: Any, search: str | None) -> Any:
        try:
            at = _asked(search, views).at
            assert at is not None
            dtype = views.explored.subject.logit_format.name
            return panels.ties(views.ties(at), dtype)
        except IsologitError:
            # Said by the first.
            return None

    @app.callback(Output("neighbours", "children"), Input("here", "data"), State("url", "search"))
    def twins(_here: Any, search: str | None) -> Any:
        try:
            asked = _asked(search, views)
            if asked.at is None or not isinstance(asked.at.at, TokenPoint):
                return html.P("Point at a token to see its twins.", className="note")
            return panels.neighbours(views.neighbours(asked.at.at.token_id), asked)
        except IsologitError:
            return None

    # Draws on the map; what it returns is nothing.
    drawing: Any = app.clientside_callback
    looked = ClientsideFunction("isologit", "looked")
    drawing(looked, Output("map-controls", "title"), Input("here", "data"))
    search_tokens = Search(views.explored)

    @app.callback(Output("found", "children"), Input("search", "value"), Input("url", "search"))
    def find(text: str | None, search: str | None) -> Any:
        if not text:
            return None
        try:
            asked = _asked(search, views)
        except IsologitError:
            asked = _EMPTY
        found = search_tokens.find(str(text), _FOUND_SHOWN)
        if not found:
            return html.P("No token fits.", className="note")
        chips = [panels.token_link(each.token, each.text, asked) for each in found]
        more = ["The best fits are shown."] if len(found) == _FOUND_SHOWN else []
        return [html.P(chips, className="chips"), *(html.P(m, className="note") for m in more)]

    _add_places(app, views)


def _add_places(app: Dash, views: Views) -> None:
    """Add what leads from a field or a button to another address."""

    def go(inputs: list[Any], states: list[Any], text: Wanted) -> None:
        """Move to the point that a text says; of none, stay."""

        @app.callback(
            Output("url", "search", allow_duplicate=True),
            Output("error", "children", allow_duplicate=True),
            inputs,
            [*states, State("url", "search")],
            prevent_initial_call=True,
        )
        def move(*given: Any) -> tuple[Any, Any]:
            values = {
                each.component_id: value
                for each, value in zip([*inputs, *states], given[:-1], strict=True)
                if each.component_property == "value"
            }
            try:
                asked = _asked(given[-1], views)
                assert asked.at is not None
                wanted = text(values, asked.at)
                if wanted is None:
                    return no_update, no_update
                point = parse_point(wanted)
                # Refused before it is in the address.
                views.state(point)
            except IsologitError as error:
                return no_update, html.P(seen(str(error)), className="error")
            if point == asked.at:
                return no_update, None
            return f"?{_moved(asked, point).query()}", None

    go(
        [Input("go-class", "n_clicks"), Input("class", "n_submit")],
        [State("class", "value")],
        _class,
    )
    if views.explored.states is not None:
        pressed = [Input("go-state", "n_clicks"), Input("state-number", "n_submit")]
        go(pressed, [State("state-number", "value")], _state)
    pressed = [Input("go-sphere", "n_clicks"), Input("lat", "n_submit"), Input("lon", "n_submit")]
    go(pressed, [State("lat", "value"), State("lon", "value")], _sphere)
    if views.explored.findings.cluster is not None:
        go([Input("go-cluster", "n_clicks")], [], _cluster)
    go([Input("share", "value")], [State("second", "value")], _mix)
    go([Input("second", "value")], [State("share", "value")], _mix)
    go([Input("rim", "value")], [], _on_the_rim)


def _class(values: Values, _at: Point) -> str:
    return f"class:{str(values['class'] or '').strip()}"


def _state(values: Values, _at: Point) -> str:
    return f"state:{str(values['state-number'] or '').strip()}"


def _sphere(values: Values, _at: Point) -> str:
    lat, lon = (str(values[name] or "0").strip().removesuffix("°") for name in ("lat", "lon"))
    return f"sphere:{lat},{lon}"


def _cluster(_values: Values, _at: Point) -> str:
    return "cluster"


def _moved(asked: Asked, point: Point) -> Asked:
    """Return what is asked at another point; a mix on its way is one state and not a hundred."""
    before = None if asked.at is None else asked.at.at
    if isinstance(point.at, MixPoint) and isinstance(before, MixPoint):
        same = (point.at.a, point.at.b) == (before.a, before.b)
        if same:
            return Asked(point, asked.seen, asked.top)
    return asked.moved_to(point)


def _mix(values: Values, at: Point) -> str | None:
    second = str(values["second"] or "").strip()
    try:
        thousandths = round(float(values["share"]) * 10)
    except (TypeError, ValueError):
        return None
    first = at.at.a if isinstance(at.at, MixPoint) else at.at
    if not second or (thousandths == 0 and not isinstance(at.at, MixPoint)):
        return None
    rim = "!rim" if at.rim else ""
    return f"mix:{thousandths / 1000:g}({first})({second}){rim}"


def _on_the_rim(values: Values, at: Point) -> str | None:
    wanted = bool(values["rim"])
    return None if wanted == at.rim else str(Point(at.at, wanted))
