"""The page as it is before anything is asked: places for what is shown, and what to point with."""

from typing import Any

import dash

from isologit.explorer.opened import Explored
from isologit.output.embedded import seen

# Dash types the arguments of each, and takes many more than it names (`aria-label`).
Component = Any
html: Any = dash.html
dcc: Any = dash.dcc

# The page's own shell: Dash's has no language, and asks a browser of 2011 to leave.
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{%title%}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="PREFIXtheme.css">
{%css%}
</head>
<body>
{%app_entry%}
<footer>
{%config%}
{%scripts%}
{%renderer%}
</footer>
</body>
</html>
"""


def layout(explored: Explored) -> Component:
    """Return the page of a model."""
    matrix = explored.findings.matrix
    name = seen(explored.findings.model.name)
    shape = f"{matrix.shape[0]:,} tokens × {matrix.shape[1]:,} numbers"
    return html.Div(
        [
            html.A("Skip to what is here", href="#verdict", className="skip"),
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="here"),
            html.Header(
                [
                    html.Div(
                        [
                            html.P("isologit · explorer", className="maker"),
                            html.Button("Theme: as the system", id="theme", type="button"),
                        ],
                        className="bar",
                    ),
                    html.H1(name),
                    html.P([html.Code(seen(matrix.tensor)), f"  {shape}"], className="about"),
                ],
                className="top",
            ),
            html.Div([_pointing(explored), _shown()], className="columns"),
        ],
        className="page",
    )


def _pointing(explored: Explored) -> Component:
    parts = [_search(), _places(explored), _mixing(), _rim()]
    parts += [
        html.Section(
            [html.H2("States that were looked at"), html.Div(id="visited")], className="panel"
        ),
        html.Section([html.H2("Share and export"), html.Div(id="exports")], className="panel"),
    ]
    return html.Aside(parts, **{"aria-label": "Point at"})


def _search() -> Component:
    return html.Section(
        [
            html.Label("Find a token by text, id or bytes", htmlFor="search"),
            dcc.Input(
                id="search",
                type="search",
                autoComplete="off",
                spellCheck="false",
                maxLength=200,
                placeholder="the, 1364, <E2 80>",
            ),
            html.Div(id="found", role="region", **{"aria-live": "polite", "aria-label": "Found"}),
        ],
        className="panel",
        role="search",
    )


def _places(explored: Explored) -> Component:
    rows: list[Component] = [
        _entry("Row class", "class", "class", f"0 to {explored.rows.bits.n_classes - 1:,}"),
        html.Div(
            [
                html.Span("Sphere"),
                _unseen("Latitude in degrees", "lat"),
                _number("lat", "latitude"),
                _unseen("Longitude in degrees", "lon"),
                _number("lon", "longitude"),
                _go("sphere", "Go to this latitude and longitude"),
            ],
            className="entry",
        ),
    ]
    if explored.states is not None:
        count = explored.states.n_states
        rows.append(_entry("State of the file", "state-number", "state", f"0 to {count - 1:,}"))
    if explored.findings.cluster is not None:
        rows.append(
            html.Div(
                [html.Span("Cluster"), _go("cluster", "Go to the centroid of the cluster")],
                className="entry",
            )
        )
    return html.Section([html.H2("Or a place"), *rows], className="panel")


def _mixing() -> Component:
    return html.Section(
        [
            html.H2("Mix with a second point"),
            html.Div(
                [
                    html.Label("Second point", htmlFor="second"),
                    dcc.Input(
                        id="second",
                        type="text",
                        debounce=True,
                        autoComplete="off",
                        spellCheck="false",
                        maxLength=100,
                        placeholder="token:5, class:3, cluster",
                    ),
                ]
            ),
            html.Div(
                [
                    html.Label("Share of the second point, in percent", htmlFor="share"),
                    dcc.Input(id="share", type="range", min=0, max=100, step=0.5, value=0),
                    html.Output("0 %", id="share-said", htmlFor="share"),
                ],
                className="slider",
            ),
        ],
        className="panel",
    )


def _rim() -> Component:
    return html.Section(
        dcc.Checklist(
            options=[{"label": "Put it where the final norm can output it", "value": "rim"}],
            value=[],
            id="rim",
        ),
        className="panel",
    )


def _shown() -> Component:
    return html.Main(
        [
            html.Div(id="error", role="alert"),
            html.H2(id="title"),
            html.P(id="verdict", tabIndex=-1, **{"aria-live": "polite"}),
            html.Section(
                [
                    html.Div(id="map-controls", className="controls"),
                    html.Div(id="map"),
                    html.P(id="map-said", className="note"),
                ],
                id="map-panel",
                **{"aria-label": "Map of the vocabulary"},
            ),
            html.Section(
                [
                    html.H3("Logits of all tokens"),
                    dcc.Graph(id="histogram", config={"displaylogo": False}),
                    html.Div(id="histogram-key"),
                ]
            ),
            html.Section([html.H3("Largest logits"), html.Div(id="top")]),
            html.Section([html.H3("Classes of one logit"), html.Div(id="classes")]),
            html.Section([html.H3("The state"), html.Div(id="state")]),
            html.Section([html.H3("Is greedy decoding certain here?"), html.Div(id="greedy")]),
            html.Section([html.H3("Why tokens tie"), html.Div(id="ties")]),
            html.Section([html.H3("Twins"), html.Div(id="neighbours")], id="twins"),
        ]
    )


def _entry(said: str, name: str, go: str, bounds: str) -> Component:
    """Return a field for a number, with its label and its button."""
    parts = [
        html.Label(said, htmlFor=name),
        _number(name, bounds),
        _go(go, f"Go to this {said.lower()}"),
    ]
    return html.Div(parts, className="entry")


def _number(name: str, placeholder: str) -> Component:
    # Text, because a number field turns what is no number into nothing without a word.
    return dcc.Input(
        id=name,
        type="text",
        inputMode="decimal",
        maxLength=30,
        placeholder=placeholder,
        autoComplete="off",
    )


def _go(kind: str, said: str) -> Component:
    return html.Button("Go", id=f"go-{kind}", type="button", n_clicks=0, **{"aria-label": said})


def _unseen(said: str, name: str) -> Component:
    """Return a label for who does not see what is beside a field."""
    return html.Label(said, htmlFor=name, className="unseen")
