"""`reproduce`: published figures beside this run's, equal or not, and files that cannot be such."""

import copy
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoints import cluster_tensors, gaussian, write_cluster, write_matrix
from cli.command import Ran, isologit
from isologit.errors import PublishedFiguresError
from isologit.figures import read_figures

V, D = 420, 16
POLE = (-7.288, 6.941)
NAME = "Somebody/synthetic"


def made_up() -> Any:
    """Return rows with three strong axes, a packed group at one place, and duplicates in it."""
    values = gaussian(V, D, seed=31)
    values[:, 0] *= 9
    values[:, 1] *= 6
    values[:, 2] *= 4
    values[300:340] = values[300] + 0.002 * gaussian(40, D, seed=32)
    values[310:330] = values[300]
    return values


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_matrix(tmp_path_factory.mktemp("reproduce") / "synthetic", made_up())


def skeleton() -> dict[str, Any]:
    """Return every section that is known, each figure still a blank."""
    values = dict.fromkeys(("min", "max", "mean", "median", "mode"), 0.0)
    held = dict.fromkeys(("mode_tokens", "max_tokens", "distinct"), 0)
    overlap = dict.fromkeys(
        ("distinct_rows_in_class", "overlap_with_1.4a", "cosine_only", "logit_only"), 0
    )
    place = {"lat_deg": POLE[0], "lon_deg": POLE[1]}
    return {
        "matrix": {"shape": [V, D], "dtype": "bfloat16", "bytes": V * D * 2},
        "rows (1.9a)": {
            **dict.fromkeys(("distinct", "redundant", "classes", "tokens_in_classes"), 0),
            "sizes": [],
            "first_ids": [[0] * 5],
        },
        "pca (1.3c)": {"eigenvalues": [0.0], "variance_percent": [0.0]},
        "cosine class (1.4a)": {
            "arithmetic": "exact",
            "north_pc": 2,
            "meridian_pc": 1,
            "equinox_pc": 3,
            **place,
            **values,
            **held,
            "first_ids": [0] * 20,
            "top_counts": [0],
        },
        "pairwise cosines of that class (1.4d)": {
            **dict.fromkeys(("pairs", "exactly_one", "distinct"), 0),
            "min": 0.0,
        },
        "logit class at a spherical state (1.5a)": {
            **place,
            "distance": 0.0,
            **values,
            **held,
            **overlap,
        },
        "multiplicity of the 1.5a logits (1.5b)": dict.fromkeys(
            (
                *("values_held_by_one_token", "by_two", "by_three", "by_four_or_more"),
                *("by_100_or_more", "by_1000_or_more"),
            ),
            0,
        ),
        "logit class at the cluster centroid (1.5c, the seed)": {
            **dict.fromkeys(
                ("centroid_norm", "member_norm_min", "member_norm_max", "member_norm_mean"), 0.0
            ),
            **values,
            **held,
            **overlap,
            "first_ids": [0] * 20,
            "top": [[0.0, 0]],
        },
        "logit class at token 300 (1.5d)": {"h_dot_h": 0.0, "tokens": 0, "first_ids": [0] * 10},
        "iterated centroid (1.6a)": {
            "centre_lat_deg": POLE[0],
            "centre_lon_deg": POLE[1],
            "field_deg": 60.0,
            "in_field": 0,
            "sizes_by_iteration": [],
            "class_by_iteration": [],
        },
    }


def run(model: Path, entry: dict[str, Any], folder: Path, *more: object) -> Ran:
    path = folder / "figures.json"
    path.write_text(json.dumps({"about": "made up", NAME: entry}))
    return isologit("reproduce", model, "--figures", path, *more)


def rounded(value: Any, decimals: int) -> Any:
    """Return a figure as a notebook would have printed it."""
    if isinstance(value, list):
        return [rounded(item, decimals) for item in value]
    return round(value, decimals) if isinstance(value, float) else value


@pytest.fixture(scope="module")
def true_figures(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A file of figures that are this matrix's own, printed at the seed line's digits."""
    entry = skeleton()
    found = run(model, entry, tmp_path_factory.mktemp("first"), "--json").json
    six = ("eigenvalues", "distance", "centroid_norm", "member_norm")
    for figure in found["figures"]:
        name = figure["figure"]
        decimals = 2 if name == "variance_percent" else 6 if name.startswith(six) else 8
        assert figure["note"] != "not computed here", figure
        entry[figure["section"]][name] = rounded(figure["this_run"], decimals)
    return entry


def test_true_figures_are_all_equal(
    model: Path, true_figures: dict[str, Any], tmp_path: Path
) -> None:
    ran = run(model, true_figures, tmp_path, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    wrong = [figure for figure in found["figures"] if figure["verdict"] != "equal"]
    assert wrong == []
    assert (found["equal"], found["differs"], found["not_compared"]) == (
        len(found["figures"]),
        0,
        0,
    )
    assert len(found["figures"]) > 60
    assert found["published"] == f"{NAME}, {tmp_path / 'figures.json'}"


def test_the_figures_are_the_matrix_s_own(true_figures: dict[str, Any]) -> None:
    # Against plain numpy, so that the figures above are not merely the program's own again.
    import ml_dtypes

    stored = made_up().astype(ml_dtypes.bfloat16)
    words = stored.view(np.uint16)
    _, counts = np.unique(words, axis=0, return_counts=True)
    rows = true_figures["rows (1.9a)"]
    assert rows["distinct"] == len(counts)
    assert rows["redundant"] == V - len(counts)
    assert rows["sizes"] == sorted(counts[counts > 1].tolist(), reverse=True)
    values = stored.astype(np.float64)
    spectrum = np.linalg.eigvalsh(np.cov(values.T, bias=True))[::-1]
    assert true_figures["pca (1.3c)"]["eigenvalues"] == np.round(spectrum[:3], 6).tolist()
    share = 100 * spectrum[:3] / spectrum.sum()
    assert true_figures["pca (1.3c)"]["variance_percent"] == np.round(share, 2).tolist()
    token = true_figures["logit class at token 300 (1.5d)"]
    square = float((values[300] @ values[300]).astype(ml_dtypes.bfloat16))
    assert token["h_dot_h"] == square
    same = np.flatnonzero((values @ values[300]).astype(ml_dtypes.bfloat16) == square)
    assert (token["tokens"], token["first_ids"]) == (len(same), same[:10].tolist())
    multiplicity = true_figures["multiplicity of the 1.5a logits (1.5b)"]
    spherical = true_figures["logit class at a spherical state (1.5a)"]
    assert sum(list(multiplicity.values())[:4]) == spherical["distinct"]


FALSE_FIGURES = [
    ("matrix", "bytes", lambda x: x + 10**9 + 1, "differs by -1,000,000,001"),
    ("rows (1.9a)", "distinct", lambda x: x + 1, "differs by -1"),
    ("rows (1.9a)", "sizes", lambda x: [*x[:-1], x[-1] + 1], "differs at entry "),
    ("rows (1.9a)", "sizes", lambda x: [*x, 2], "differs in length: "),
    ("cosine class (1.4a)", "mode", lambda x: x + 0.0078125, "differs by -0.007812"),
    ("cosine class (1.4a)", "max", lambda x: x + 1e-8, "differs by "),
    ("pca (1.3c)", "eigenvalues", lambda x: [*x[:2], x[2] + 1e-6], "differs at entry 3"),
    ("logit class at the cluster centroid (1.5c, the seed)", "mode_tokens", lambda x: x - 2, "+2"),
    ("logit class at the cluster centroid (1.5c, the seed)", "top", lambda x: x[1:], "differs"),
    ("iterated centroid (1.6a)", "in_field", lambda x: x + 1, "differs by -1"),
    ("matrix", "dtype", lambda _: "float16", "differs"),
    ("matrix", "bytes", str, "differs"),
]


@pytest.mark.parametrize(("section", "figure", "falsify", "told"), FALSE_FIGURES)
def test_one_false_figure_differs_and_no_other(
    model: Path,
    true_figures: dict[str, Any],
    tmp_path: Path,
    section: str,
    figure: str,
    falsify: Any,
    told: str,
) -> None:
    entry = copy.deepcopy(true_figures)
    entry[section][figure] = falsify(entry[section][figure])
    found = run(model, entry, tmp_path, "--json").json
    differing = [(f["section"], f["figure"]) for f in found["figures"] if f["verdict"] == "differs"]
    assert differing == [(section, figure)]
    assert (found["differs"], found["not_compared"]) == (1, 0)


@pytest.mark.parametrize(("section", "figure", "falsify", "told"), FALSE_FIGURES[:6])
def test_the_page_says_differs_by_how_much(
    model: Path,
    true_figures: dict[str, Any],
    tmp_path: Path,
    section: str,
    figure: str,
    falsify: Any,
    told: str,
) -> None:
    entry = {section: copy.deepcopy(true_figures[section])}
    entry[section][figure] = falsify(entry[section][figure])
    lines = run(model, entry, tmp_path, "--entry", NAME).out.splitlines()
    start = lines.index(next(line for line in lines if line.startswith(section)))
    line = next(line for line in lines[start:] if line.split()[:1] == [figure])
    assert told in line
    assert ("depends on it" in line) == (not section.startswith(("rows", "matrix")))
    assert f"{len(entry[section]) - 1 - 6 * section.startswith('cosine')} equal, 1 differ, " in (
        "\n".join(lines)
    )


@pytest.mark.parametrize(("lat", "lon"), [POLE, (-POLE[0], POLE[1]), (20.0, -150.0)])
def test_of_the_fullest_sign_choices_the_one_that_points_at_its_mode_is_kept(
    model: Path, tmp_path: Path, lat: float, lon: float
) -> None:
    entry = {"cosine class (1.4a)": skeleton()["cosine class (1.4a)"]}
    entry["cosine class (1.4a)"] |= {"lat_deg": lat, "lon_deg": lon}
    found = run(model, entry, tmp_path, "--entry", NAME, "--json").json
    modes = {}
    for signs in product((1, -1), repeat=3):
        axes = tuple(sign * n for sign, n in zip(signs, (2, 1, 3), strict=True))
        ran = isologit(
            *("audit", model, "--pole", f"{lat},{lon}", "--axes", ",".join(map(str, axes))),
            "--json",
        )
        mode = ran.json["cosines"]["mode"]
        modes[axes] = (mode["n_tokens"], mode["value"])
    kept = tuple(found["axes"])
    fullest = max(count for count, _ in modes.values())
    full = {axes: value for axes, (count, value) in modes.items() if 2 * count >= fullest}
    assert full[kept] == max(full.values())
    # The choice matters here, or nothing would be shown.
    assert len(set(full.values())) > 1
    figures = {f["figure"]: f["this_run"] for f in found["figures"]}
    assert (figures["mode_tokens"], figures["mode"]) == modes[kept]
    assert found["notes"][0].startswith(
        f"of the eight sign choices of the axes, {list(kept)} (north, meridian, equinox) was kept: "
        "of those whose cosine mode is among the fullest it has the largest cosine, "
    )


def test_the_sections_are_what_the_other_commands_say(
    model: Path, true_figures: dict[str, Any], tmp_path: Path
) -> None:
    ids = list(range(300, 340))
    path = write_cluster(tmp_path / "c.safetensors", cluster_tensors(ids, V))
    found = run(model, skeleton(), tmp_path, "--members", path, "--json").json
    figures: dict[str, dict[str, Any]] = {}
    for figure in found["figures"]:
        figures.setdefault(figure["section"], {})[figure["figure"]] = figure["this_run"]

    def same_values(section: dict[str, Any], logits: dict[str, Any]) -> None:
        for name in ("min", "max", "mean", "median", "distinct"):
            assert section[name] == logits[name]
        mode = logits["mode"]
        assert (section["mode"], section["mode_tokens"]) == (mode["value"], mode["n_tokens"])
        assert section["max_tokens"] == logits["max_class"]["n_tokens"]

    centroid = isologit("classes", model, "--members", path, "--json").json
    section = figures["logit class at the cluster centroid (1.5c, the seed)"]
    same_values(section, centroid["logits"])
    overlap = centroid["comparison"]
    names = ("overlap_with_1.4a", "cosine_only", "logit_only")
    assert [section[n] for n in names] == [overlap[n] for n in ("both", "only_a", "only_b")]
    assert section["distinct_rows_in_class"] == centroid["class_rows"]["distinct"]
    assert section["centroid_norm"] == centroid["centroid"]["norm"]
    norms = centroid["centroid"]["member_norm"]
    assert [section[f"member_norm_{n}"] for n in norms] == list(norms.values())
    assert section["top"] == [[t["value"], t["n_tokens"]] for t in centroid["logits"]["top"]]

    distance = figures["logit class at a spherical state (1.5a)"]["distance"]
    assert distance == norms["mean"]
    place = f"{POLE[0]},{POLE[1]},{distance}"
    axes = ",".join(map(str, found["axes"]))
    spherical = isologit("classes", model, "--pole", place, "--axes", axes, "--json").json
    same_values(figures["logit class at a spherical state (1.5a)"], spherical["logits"])
    held = figures["multiplicity of the 1.5a logits (1.5b)"]
    assert list(held.values()) == list(spherical["logits"]["multiplicity"].values())
    assert len(set(held.values())) >= 4

    audited = isologit(
        "audit", model, "--pole", f"{POLE[0]},{POLE[1]}", "--axes", axes, "--json"
    ).json
    cosine = figures["cosine class (1.4a)"]
    same_values(cosine, audited["cosines"])
    assert cosine["top_counts"] == [t["n_tokens"] for t in audited["cosines"]["top"]]
    assert cosine["first_ids"] == audited["cosines"]["mode"]["token_ids"][:20]


def test_members_settle_the_signs_and_are_the_cluster(model: Path, tmp_path: Path) -> None:
    ids = list(range(300, 340))
    path = write_cluster(tmp_path / "c.safetensors", cluster_tensors(ids, V))
    found = run(model, skeleton(), tmp_path, "--members", path, "--json").json
    by_name = {(f["section"].split(" (")[0], f["figure"]): f["this_run"] for f in found["figures"]}
    assert by_name["pairwise cosines of that class", "pairs"] == 40 * 39 // 2
    assert (
        by_name["logit class at the cluster centroid", "overlap_with_1.4a"]
        + by_name["logit class at the cluster centroid", "cosine_only"]
        == 40
    )
    assert found["notes"][0].endswith("it lies nearest to the centroid of the given members")
    assert [abs(n) for n in found["axes"]] == [2, 1, 3]


def test_what_is_not_known_here_is_not_compared(model: Path, tmp_path: Path) -> None:
    entry = {
        "matrix": {"shape": [V, D], "colour": "blue"},
        "tokenizer": {"ids": 151669},
        "halo (9.9z)": {"size": 121},
        "logit class at token 999999 (1.5d)": {"tokens": 1},
        "pairwise cosines of that class (1.4d)": {"pairs": 3},
        "iterated centroid (1.6a)": {"in_field": 3},
    }
    ran = run(model, entry, tmp_path, "--json")
    assert ran.code == 0
    verdicts = {f["figure"]: (f["verdict"], f["note"]) for f in ran.json["figures"]}
    assert verdicts == {
        "shape": ("equal", ""),
        "colour": ("not compared", "not computed here"),
        "ids": ("not compared", "needs the tokenizer"),
        "size": ("not compared", "not known here"),
        "tokens": ("not compared", "not computed here"),
        "pairs": ("not compared", "not computed here"),
        "in_field": ("not compared", "not computed here"),
    }
    page = run(model, entry, tmp_path).out
    assert "not compared: needs the tokenizer" in page
    assert "1 equal, 0 differ, 6 not compared" in page.splitlines()


def test_names_in_a_figures_file_are_no_markup(model: Path, tmp_path: Path) -> None:
    entry = {"matrix": {"shape": [V, D]}, "odd [/b] \x1b[31m": {"[/i]": "[bold]x[/bold]"}}
    ran = run(model, entry, tmp_path)
    assert ran.code == 0
    assert "odd [/b] \\x1b[31m" in ran.out
    assert "  [/i]" in ran.out
    assert "[bold]x[/bold]" in ran.out
    assert "\x1b" not in ran.out


def test_a_negative_zero_prints_as_zero(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", [[1, 0], [0, 1], [0, 2]])
    entry = {"logit class at the cluster centroid (1.5c)": {"min": -0.0, "mean": 1.0}}
    (tmp_path / "ids.txt").write_text("0")
    found = run(
        model, entry, tmp_path, "--entry", NAME, "--members", tmp_path / "ids.txt", "--json"
    )
    assert [f["verdict"] for f in found.json["figures"]] == ["equal", "differs"]


def test_figures_that_are_no_numbers_differ_in_words(tmp_path: Path) -> None:
    model = write_matrix(tmp_path / "m", [[1], [np.inf], [np.nan]])
    (tmp_path / "ids.txt").write_text("0")
    entry = {"logit class at the cluster centroid (1.5c)": {"max": 1.0, "centroid_norm": 1}}
    more = ("--entry", NAME, "--members", tmp_path / "ids.txt")
    ran = run(model, entry, tmp_path, *more)
    assert ran.code == 0
    assert "differs by +inf" in ran.out
    found = run(model, entry, tmp_path, *more, "--json").json["figures"]
    assert [(f["this_run"], f["difference"]) for f in found] == [("inf", "inf"), (1, None)]


class TestEntries:
    """Which model's figures are taken."""

    def test_the_entry_of_the_checkpoint_s_name_goes_first(
        self, model: Path, tmp_path: Path
    ) -> None:
        entries = {
            "Other/of-this-shape": {"matrix": {"shape": [V, D]}},
            NAME: {"matrix": {"dtype": "bfloat16"}},
        }
        (tmp_path / "f.json").write_text(json.dumps(entries))
        found = isologit("reproduce", model, "--figures", tmp_path / "f.json", "--json").json
        assert found["published"].startswith(f"{NAME}, ")
        other = isologit(
            "reproduce",
            model,
            "--figures",
            tmp_path / "f.json",
            "--entry",
            "Other/of-this-shape",
            "--json",
        )
        assert other.json["published"].startswith("Other/of-this-shape, ")

    def test_else_the_only_one_of_its_shape(self, model: Path, tmp_path: Path) -> None:
        entries = {
            "a": {"matrix": {"shape": [V, D + 1]}},
            "b": {"matrix": {"shape": [V, D]}},
            "c": {"rows": {}},
            "d": {"matrix": [V, D]},
            "e": ["no object"],
        }
        (tmp_path / "f.json").write_text(json.dumps(entries))
        ran = isologit("reproduce", model, "--figures", tmp_path / "f.json", "--json")
        assert ran.json["published"].startswith("b, ")

    @pytest.mark.parametrize(
        ("entries", "more", "told"),
        [
            ({"a": {}, "b": {}}, (), "no one entry for synthetic [420, 16]; it holds a, b"),
            ({"a": {}}, ("--entry", "z"), "no entry 'z'; it holds a"),
            ({}, (), "it holds none"),
            ({"about": "no entries"}, ("--entry", "about"), "no entry 'about'; it holds none"),
        ],
    )
    def test_what_does_not_fit_lists_what_there_is(
        self, model: Path, tmp_path: Path, entries: Any, more: tuple[str, ...], told: str
    ) -> None:
        (tmp_path / "f.json").write_text(json.dumps(entries))
        ran = isologit("reproduce", model, "--figures", tmp_path / "f.json", *more)
        assert (ran.code, ran.out) == (PublishedFiguresError.exit_code, "")
        assert ran.err.startswith(f"PublishedFiguresError: {tmp_path / 'f.json'}: ")
        assert told in ran.err
        assert "--entry" in ran.err
        assert ran.err.count("\n") == 1

    def test_the_package_s_own_figures_do_not_fit_another_matrix(self, model: Path) -> None:
        ran = isologit("reproduce", model)
        assert ran.code == PublishedFiguresError.exit_code
        assert "Qwen/Qwen3-4B-Instruct-2507" in ran.err


def test_the_seed_s_own_figures_stand_beside_any_model(shared: Path) -> None:
    model = shared / "checkpoints" / "llama2xs-hf-bf16"
    entry = "Qwen/Qwen3-4B-Instruct-2507"
    ran = isologit("reproduce", model, "--entry", entry, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    published = read_figures(None)[entry]
    compared = {f["section"] for f in found["figures"] if f["verdict"] != "not compared"}
    assert compared == set(published)
    # Only what does not depend on the model can be equal here: it is another one.
    equal = [(f["section"], f["figure"]) for f in found["figures"] if f["verdict"] == "equal"]
    assert equal == [("matrix", "dtype"), ("matrix", "tied")]
    of_bits = {f["section"] for f in found["figures"] if not f["depends_on_arithmetic"]}
    assert of_bits == {"matrix", "tokenizer", "rows (1.9a)"}


def test_the_package_s_figures_are_the_shared_ones(shared: Path) -> None:
    published = json.loads((shared / "published" / "azimuth.json").read_text())
    assert read_figures(None) == published


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"synthetic": {"rows": 3}}',
        b'{"synthetic": {"rows": null}}',
        b'{"synthetic": {"cosine class": {"lat_deg": "north", "lon_deg": 1}}}',
        b'{"synthetic": {"cosine class": {"lat_deg": 91, "lon_deg": 1}}}',
        b'{"synthetic": {"cosine class": {"lat_deg": 1, "lon_deg": NaN}}}',
        b'{"synthetic": {"cosine class": {"lat_deg": 1, "lon_deg": 1, "north_pc": 0}}}',
        b'{"synthetic": {"cosine class": {"lat_deg": 1, "lon_deg": 1, "north_pc": 1.5}}}',
        b'{"synthetic": {"cosine class": {"lat_deg": 1, "lon_deg": 1, "north_pc": -1}}}',
        b'{"synthetic": {"iterated centroid": {"field_deg": [3]}}}',
    ],
)
def test_a_file_that_cannot_be_figures_is_one_line(
    model: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "f.json").write_bytes(content)
    ran = isologit("reproduce", model, "--figures", tmp_path / "f.json")
    assert (ran.code, ran.out) == (PublishedFiguresError.exit_code, "")
    assert ran.err.startswith("PublishedFiguresError: ")
    assert ran.err.count("\n") == 1


def test_a_missing_file_is_the_same(model: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path, tmp_path / ("x" * 300)):
        ran = isologit("reproduce", model, "--figures", path)
        assert ran.code == PublishedFiguresError.exit_code
        assert str(path) in ran.err


@pytest.mark.parametrize(
    "section",
    [
        {"rows": {"first_ids": 3, "largest": "x", "sizes": None}},
        {"rows": {"first_ids": [3], "largest": []}},
        {"rows": {"first_ids": [], "largest": {"a": 1}}},
        {"logit class at token 1": {"first_ids": "all", "tokens": [1]}},
        {"cosine class": {"lat_deg": 1, "lon_deg": 2, "first_ids": None, "top_counts": {}}},
        {"cosine class": {"lat_deg": 1, "lon_deg": 2, "north_pc": 5, "meridian_pc": -4}},
    ],
)
def test_odd_figures_are_compared_and_found_different(
    model: Path, tmp_path: Path, section: dict[str, Any]
) -> None:
    ran = run(model, section, tmp_path, "--entry", NAME, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert {f["verdict"] for f in ran.json["figures"]} <= {"differs", "equal"}
