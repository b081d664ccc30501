"""The colours and symbols of marks.

Every colour has a contrast of 3 to 1 or more with a white ground, with that of plotly's own
template and with a near-black one, so a figure needs no second set of colours for a dark page. That
leaves a narrow band of lightness (relative luminance .13 to .25), so groups differ by symbol too.
The colours of `FEW` were chosen to lie far apart for trichromats and under the three kinds of
dichromacy (as Machado, Oliveira and Fernandes simulate them, 2009), and from the two accents.
"""

#: The accents: tokens of the cluster, and of the most common logit, in every figure.
CLUSTER = "#df500c"
MODAL = "#b020cc"
#: What the accents stand out from.
REST = "#7b7e98"
#: Rows that are held several times, outside the cluster.
SHARED = "#2389e2"

#: Colours without an order, the ones farthest apart first.
FEW = (
    *("#2389e2", "#29706c", "#a24e10", "#c90069"),
    *("#763bf1", "#a27f57", "#d14bca", "#8f539d"),
)
#: Colours in order, from low to high: from blue to orange, which every kind of dichromacy keeps.
SCALE = (
    *("#375bdc", "#7258c6", "#9951b0", "#b44b9a"),
    *("#c64b83", "#cf536a", "#d1624c", "#c96f14"),
)
#: Symbols to go with either, all of them filled.
SYMBOLS = (
    *("circle", "square", "diamond", "triangle-up"),
    *("cross", "triangle-down", "x", "star"),
)
