"""What the page shows of records, as Dash components: texts alone, never markup."""

from collections.abc import Iterable, Sequence
from typing import Any

import dash
import plotly.graph_objects as go

from isologit.checkpoint.wording import counted
from isologit.explorer.points import Asked, Point, TokenPoint
from isologit.explorer.records import Histogram, Neighbours, TiesView, View, Visited
from isologit.explorer.repeating import STATE_FILE
from isologit.output import palette, report_sections, sentences, states_page, tie_sentences
from isologit.output.embedded import seen
from isologit.output.page_parts import Fact, PageTable
from isologit.output.sentences import FORMAT_NAMES, number

# Dash types the arguments of each, and takes many more than it names (`aria-label`).
Component = Any
html: Any = dash.html
dcc: Any = dash.dcc
# Tokens of a row that are shown one by one.
_TWINS_SHOWN = 40
_VISITED_SHOWN = 12


def link(text: Sequence[Component] | str, asked: Asked, point: Point, name: str = "") -> Component:
    """Return a link that points at something: what is there now has been seen then."""
    children = seen(text) if isinstance(text, str) else text
    return dcc.Link(children, href=f"?{asked.moved_to(point).query()}", className=name)


def token_link(token_id: int, text: str, asked: Asked) -> Component:
    """Return a token as it stands in the report, and a way to it."""
    shown = [html.Bdi(seen(text)), " "] if text else []
    parts = [*shown, html.Span(str(token_id), className="id")]
    return link(parts, asked, Point(TokenPoint(token_id)), "chip")


def facts(found: Iterable[Fact]) -> Component:
    """Return names with what is said under each."""
    return html.Dl(
        [
            html.Div(
                [
                    html.Dt(each.name),
                    html.Dd(html.Code(seen(each.value)) if each.code else seen(each.value)),
                ]
            )
            for each in found
        ],
        className="facts",
    )


def table(found: PageTable) -> Component:
    """Return a table, which scrolls where it is wider than its place."""
    return _scrolling(found.caption, found.heads, found.rows, found.numbers)


def verdict(view: View, n_tokens: int) -> str:
    """Return what holds at the state, in a sentence or two."""
    logits, kind = view.logits, FORMAT_NAMES[view.logits.dtype]
    if not logits.distinct:
        return "No logit is a number here."
    told = f"{counted(n_tokens, 'token')}, {counted(logits.distinct, 'distinct logit')} in {kind}"
    if logits.mode.n_tokens == 1:
        told += ": no two tokens tie."
    else:
        several = sentences.several_modes(logits)
        common = "one, as many as share any" if several else "the most common"
        told += f"; {logits.mode.n_tokens:,} share {common}."
    if view.greedy is not None:
        here = view.greedy.states[0].formats[view.greedy.shares[0].dtype]
        told += f" The top token is {here.verdict}."
    reach = {
        True: "The final norm can output this state.",
        False: "The final norm cannot output this state.",
        None: "Whether the final norm can output this state is not known.",
    }[view.state.reachable]
    return f"{told} {reach}"


def state(view: View) -> Component:
    """Return what the state is, and the figures of the logits there."""
    what, norm, reach = (line.strip() for line in sentences.state(view.state))
    return html.Div(
        [
            facts(
                [
                    Fact("what it is", what),
                    Fact("norm", norm.removeprefix("Norm: ").replace("   Dtype: ", ", in ")),
                    Fact("can a prompt lead to it", reach),
                    *report_sections.distribution(view.logits, 1)[1:4],
                ]
            ),
            *(
                html.P(seen(f"{note[0].upper()}{note[1:]}."), className="note")
                for note in view.notes
            ),
        ]
    )


def histogram(found: Histogram | None, view: View) -> go.Figure:
    """Return the logits in bins, with those of the classes marked."""
    figure = go.Figure()
    if found is not None:
        counts = [(n, count) for n, count in enumerate(found.counts) if count]
        # What comes last is seen where two are in one bin; the key names them together.
        marked = {found.maximum: palette.SHARED, found.modal: palette.MODAL}
        if found.own is not None:
            marked[found.own] = palette.CLUSTER
        edges = [((found.first + n) * found.width) for n, _ in counts]
        figure.add_bar(
            x=edges,
            y=[count for _, count in counts],
            width=found.width,
            offset=0,
            marker={
                "color": [marked.get(n, palette.REST) for n, _ in counts],
                "line": {"width": 0},
            },
            customdata=[edge + found.width for edge in edges],
            hovertemplate="%{x:.6g} to %{customdata:.6g}<br>%{y:,} tokens<extra></extra>",
        )
    figure.update_layout(
        template="none",
        autosize=True,
        height=260,
        margin={"l": 52, "r": 8, "t": 8, "b": 40},
        bargap=0,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        xaxis={"title": {"text": f"logit ({FORMAT_NAMES[view.logits.dtype]})"}, "zeroline": False},
        yaxis={"title": {"text": "tokens"}, "type": "log", "dtick": 1, "zeroline": False},
    )
    return figure


def histogram_key(found: Histogram | None) -> Component:
    """Return what the colours of the histogram mean."""
    if found is None:
        return html.P("No logit is a finite number.", className="key")
    told: dict[int | None, list[tuple[str, str]]] = {}
    for at, text, name in (
        (found.maximum, "the maximum", "maximum"),
        (found.modal, "the most common logit", "modal"),
        (found.own, "the token itself", "own"),
    ):
        told.setdefault(at, []).append((text, name))
    parts = [
        (", ".join(text for text, _ in each), each[-1][1])
        for at, each in told.items()
        if at is not None
    ]
    left = f"; {counted(found.left_out, 'token')} without a finite logit" if found.left_out else ""
    return html.P(
        [
            *(html.Span([html.I(className=name), text]) for text, name in parts),
            html.Span(f"bins of {found.width:.6g}, on a scale of powers of ten{left}"),
        ],
        className="key",
    )


def classes(view: View, n_tokens: int) -> Component:
    """Return the classes of tokens with one logit: the largest, and how many are of each size."""
    logits = view.logits
    told: list[Component] = []
    if view.own_class is not None:
        lines = sentences.own_class(view.own_class, view.state, logits.dtype, n_tokens)
        told.append(html.P(seen(f"{lines[0]}.")))
    if logits.distinct:
        found = view.class_rows
        told.append(
            html.P(
                f"The {counted(found.n_tokens, 'token')} of the largest class have "
                f"{counted(found.distinct, 'distinct row')}."
            )
        )
    tables = (
        report_sections.most_common(logits, "logit"),
        report_sections.multiplicities(logits, "logit"),
    )
    return html.Div([*told, html.Div([table(each) for each in tables], className="pair")])


def top(view: View, asked: Asked) -> Component:
    """Return the largest logits, token by token."""
    rows = [
        [
            str(each.rank),
            token_link(each.token, each.text, asked),
            each.kind,
            html.Span(number(each.logit, view.logits.dtype), title=each.hex),
            f"{each.tied:,}" if each.tied else "",
            f"{each.same_row:,}" if each.same_row else "",
        ]
        for each in view.top
    ]
    heads = ("rank", "token", "script or category", "logit", "tie with it", "have its row")
    caption = f"The {counted(len(rows), 'largest logit')}, token by token"
    return _scrolling(caption, heads, rows, frozenset({0, 3, 4, 5}))


def ties(found: TiesView, dtype: str) -> Component:
    """Return why tokens tie."""
    told = found.ties
    return html.Div(
        [
            html.P(f"{tie_sentences.opening(dtype, told.logits_of)}."),
            table(report_sections.tied_classes(told, dtype)),
            table(report_sections.tie_causes(told)),
        ]
    )


def greedy(view: View) -> Component:
    """Return the greedy certificate."""
    if view.greedy is None:
        return html.P("There is no certificate: logits are observed here, or the notes say why.")
    lines = states_page.what_it_means(view.greedy)
    return html.Div(
        [
            table(report_sections.greedy(view.greedy)),
            html.Ul([html.Li(seen(line.strip())) for line in lines]),
        ]
    )


def neighbours(found: Neighbours, asked: Asked) -> Component:
    """Return the tokens of a token's row, and the nearest others."""
    others = [i for i in found.twins if i != found.token]
    hidden = found.row_class_size - 1 - min(len(others), _TWINS_SHOWN)
    same: list[Component] = [html.P("No other token has its row.")]
    if others:
        share = "token has" if found.row_class_size == 2 else "tokens have"
        same = [
            html.P(f"{found.row_class_size - 1:,} other {share} its row, bit for bit:"),
            html.P(
                [token_link(i, found.texts.get(str(i), ""), asked) for i in others[:_TWINS_SHOWN]],
                className="chips",
            ),
        ]
    if hidden > 0:
        same.append(html.P(f"and {counted(hidden, 'more token')}.", className="note"))
    if not found.nearest:
        return html.Div([*same, html.P(seen(f"No nearest twins: {found.why}."))])
    rows = [
        [
            token_link(pair.b, found.texts.get(str(pair.b), ""), asked),
            f"{pair.gap_nats:.6g}",
        ]
        for pair in found.nearest
    ]
    caption = "Nearest twins: no state that the norm outputs drives their logits farther apart"
    return html.Div([*same, _scrolling(caption, ("token", "gap in nats"), rows, frozenset({1}))])


def visited(found: Visited, asked: Asked, titles: Sequence[str]) -> Component:
    """Return what the states that were looked at leave together, and the way back to each.

    `titles` are those of the points in words, in the order of `asked.visited`.
    """
    told: list[Component] = [html.P(found.said, id="meet")]
    if found.states:
        rows = counted(found.rows_classes, "of them is", "of them are")
        classes = counted(found.classes, "class", "classes")
        if found.told_apart_all:
            told.append(html.P("No state can tell more of them apart.", className="note"))
        else:
            told.append(html.P(f"They are in {classes}; {rows} one row.", className="note"))
    named = list(zip(titles, asked.visited, strict=True))[::-1]
    shown = [html.Li(link(text, asked, point)) for text, point in named[:_VISITED_SHOWN]]
    more = len(named) - len(shown)
    tail = [html.P(f"and {more:,} before these", className="note")] if more > 0 else []
    return html.Div([*told, html.Ul(shown, className="visited"), *tail])


def exports(view: View, asked: Asked, prefix: str) -> Component:
    """Return the link to share, the files of what is on screen, and the command that repeats it."""
    at = Asked(asked.at, (), asked.top).query()
    files = [
        ("all tokens (CSV)", "tokens.csv"),
        ("this view (JSON)", "view.json"),
        ("the state (safetensors)", STATE_FILE),
    ]
    needs = f"It reads the state that is exported as {STATE_FILE}." if view.needs_state else ""
    return html.Div(
        [
            html.P(html.Button("Copy a link to this view", id="share-link", type="button")),
            html.P(html.Code(id="share-text"), hidden=True),
            html.Ul(
                [
                    html.Li(html.A(said, href=f"{prefix}export/{name}?{at}", download=name))
                    for said, name in files
                ]
                + [html.Li(html.Button("the map (PNG)", id="map-png", type="button"))]
                + [html.Li(html.Button("the histogram (PNG)", id="histogram-png", type="button"))]
            ),
            html.P("The command that prints the same:"),
            html.Div(
                [
                    html.Code(seen(view.command), id="command"),
                    html.Button("Copy", id="copy-command", type="button"),
                ],
                className="command",
            ),
            html.P(needs, className="note"),
        ]
    )


def _scrolling(
    caption: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[Component]],
    numbers: frozenset[int],
) -> Component:
    def name(at: int) -> str:
        return "n" if at in numbers else ""

    return html.Div(
        html.Table(
            [
                html.Caption(seen(caption)),
                html.Thead(
                    html.Tr(
                        [
                            html.Th(seen(h), scope="col", className=name(n))
                            for n, h in enumerate(heads)
                        ]
                    )
                ),
                html.Tbody(
                    [
                        html.Tr(
                            [
                                html.Th(seen(cell), scope="row", className=name(n))
                                if n == 0
                                else html.Td(seen(cell), className=name(n))
                                for n, cell in enumerate(row)
                            ]
                        )
                        for row in rows
                    ]
                ),
            ]
        ),
        className="scroll",
        tabIndex=0,
        role="region",
        **{"aria-label": seen(caption)},
    )
