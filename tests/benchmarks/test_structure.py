"""The figures of the structure, on a small tree of source that is counted by hand."""

from pathlib import Path

import pytest

from benchmarks.structure.calls import Trip, Trips
from benchmarks.structure.figures import Figure, figures, packages, remarks
from benchmarks.structure.picture import graph, picture, rendered
from benchmarks.structure.rooms import Rooms, children, rooms
from benchmarks.structure.sources import functions, lines
from tests.support.trees import write

TREE = {
    "tangent/__init__.py": """
        from tangent import errors as errors
        from tangent.solvers.ridge import solve as solved
        from tangent.view import view
        """,
    "tangent/errors.py": "",
    "tangent/view.py": "import numpy\n",
    "tangent/fit.py": """
        from tangent import errors, solvers
        import tangent.solvers.ridge
        import tangent.fit
        """,
    "tangent/refine.py": """
        from .fit import anything
        from tangent import solved
        """,
    "tangent/solvers/__init__.py": "from . import ridge\n",
    "tangent/solvers/ridge.py": """
        def solve():
            from ..errors import Singular
        """,
    "app/__init__.py": "",
    "app/main.py": """
        def one():
            from app.api.images import run

        def two():
            from app.store import run
        """,
    "app/settings.py": "class Settings: ...\n",
    "app/engine.py": """
        import tangent
        from app import settings, store
        """,
    "app/api/__init__.py": "",
    "app/api/images.py": "from app.engine import Engine\n",
    "app/api/labels.py": "from app.api import images\nfrom app.api.http import pages\n",
    "app/api/http/__init__.py": "",
    "app/api/http/pages.py": "",
    "app/store/__init__.py": "",
    "app/store/rows.py": """
        import typing

        if typing.TYPE_CHECKING:
            from app.engine import Engine
        from app.store import tables
        """,
    "app/store/tables.py": "from app.settings import Settings\n",
    "tangent_composer/__init__.py": "",
    "tangent_composer/schemas.py": "SIZE = 1\n",
    "training_worker/__init__.py": "from app.store.rows import rows\nimport tangent.fit\n",
    "training_worker/attempt.py": """
        @decorated
        @decorated
        def long():
            def inner():
                pass

            return inner

        async def short(): ...
        """,
    "migrations/__init__.py": "",
    "migrations/first.py": """
        def upgrade():
            "1"
            "2"
            "3"
            "4"
            "5"
            "6"
        """,
    "tests/test_all.py": "",
    "docs/page.md": "no source",
    ".hidden/file.py": "",
    "build/lib/file.py": "",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with rooms, a face, a circle and a long function."""
    root = tmp_path_factory.mktemp("tree")
    write(root, TREE)
    return root


def pairs(text: str) -> set[tuple[str, str]]:
    """Arrows written as `a>b c>d`, in tangent unless they say where."""
    full = (name if "." in name else f"tangent.{name}" for name in text.replace(">", " ").split())
    return set(zip(full, full, strict=True))


def test_rooms_are_the_modules_and_packages_directly_in_a_package(tree):
    found = rooms(tree, "tangent")
    expected = ("errors", "fit", "refine", "solvers", "view")
    assert found.names == tuple(f"tangent.{name}" for name in expected)
    assert set(found.names) - set(found.loose) == {"tangent.solvers"}
    assert children(tree, "app.api") == ["app.api.http", "app.api.images", "app.api.labels"]


def test_an_arrow_leads_to_what_is_imported_however_the_import_is_written(tree):
    expected = pairs("fit>errors fit>solvers refine>fit refine>solvers solvers>errors")
    assert rooms(tree, "tangent").arrows == expected


def test_imports_under_the_same_name_in_two_functions_are_two_arrows(tree):
    found = {target for room, target in rooms(tree, "app").arrows if room == "app.main"}
    assert found == {"app.api", "app.store"}


def test_each_room_stands_a_storey_above_the_highest_that_it_leads_to(tree):
    found = rooms(tree, "tangent")
    expected = {"errors": 0, "view": 0, "solvers": 1, "fit": 2, "refine": 3}
    assert found.storeys == {f"tangent.{name}": storey for name, storey in expected.items()}
    assert (found.circles, found.upward) == (set(), set())


def test_rooms_that_lead_to_each_other_are_a_circle_on_one_storey(tree):
    found = rooms(tree, "app")
    assert found.circles == {frozenset({"app.engine", "app.store"})}
    assert found.upward == {("app.engine", "app.store"), ("app.store", "app.engine")}
    expected = {"settings": 0, "engine": 1, "store": 1, "api": 2, "main": 3}
    assert found.storeys == {f"app.{name}": storey for name, storey in expected.items()}


def test_an_arrow_that_others_imply_is_not_drawn(tree):
    expected = pairs("fit>solvers refine>fit solvers>errors")
    assert rooms(tree, "tangent").reduced == expected


def test_a_circle_is_drawn_whole_and_hides_no_arrow_that_leads_out_of_it():
    arrows = pairs("x.a>x.b x.b>x.a x.a>x.low x.b>x.low x.top>x.a x.top>x.low")
    names = ("x.a", "x.b", "x.low", "x.top")
    expected = pairs("x.a>x.b x.b>x.a x.a>x.low x.b>x.low x.top>x.a")
    assert Rooms(names, names, frozenset(arrows)).reduced == expected


def test_lines_and_functions_are_counted_without_decorators(tree):
    assert functions(tree, ["training_worker"]) == [
        (5, "training_worker.attempt", "long"),
        (2, "training_worker.attempt", "inner"),
        (1, "training_worker.attempt", "short"),
    ]
    assert lines(tree, ["training_worker"]) == 2 + 9


def test_the_figures_of_the_tree_are_those_counted_by_hand(tree):
    in_use = Trip(modules=26, functions=99, hops=80)
    trips = Trips(in_use, Trip(40, 200, 300), Trip(modules=30, functions=99, hops=100))
    found = {figure.name.split(":")[0]: figure for figure in figures(tree, trips)}
    assert [(figure.values, figure.is_reached) for figure in found.values()] == [
        ((4, 5, 5, 0, 0), True),  # tangent
        ((2, 2), True),  # app/store; app/api: images, labels
        ((5 + 5 + 4,), True),  # app; tangent; migrations, tangent_composer, tests, training_worker
        ((30, 100), True),  # deletion
        ((26, 80), False),  # prediction: a module too many
        ((40, 300), None),  # the first one
        ((5,), True),  # the functions of migrations are not counted
        ((17, 12, 1, 11, 7), None),
    ]
    assert found["prediction"].row == ["prediction: modules · hops", "26 · 80", "≤ 25 · ≤ 80", "no"]


def test_without_traced_requests_only_their_figures_are_missing(tree):
    trip = Trip(0, 0, 0)
    assert len(figures(tree, Trips(trip, trip, trip))) - len(figures(tree)) == 3


def test_a_bound_of_zero_reads_as_none_and_a_word_stands_for_itself():
    assert Figure("a · b", (1, 2), (0, "nouns only")).row == [
        "a · b",
        "1 · 2",
        "none · nouns only",
        "no",
    ]
    assert Figure("a", (1,)).row == ["a", "1", "", ""]


def test_each_package_with_rooms_has_a_row_of_counts(tree):
    assert packages(tree) == [
        ["`tangent`", "4", "5", "5", "4", "0", "0"],
        ["`app`", "3", "5", "7", "4", "2", "1"],
        ["`app.api`", "2", "3", "2", "2", "0", "0"],
        ["`app.store`", "2", "2", "1", "2", "0", "0"],
    ]


def test_the_remarks_name_long_functions_the_nouns_of_the_interface_and_circles(tree):
    found = remarks(tree)
    assert "  5 training_worker.attempt.long" in found
    assert "modules of app/api: images labels" in found
    assert "circle in app: app.engine app.store" in found


def test_the_graph_has_the_highest_rooms_first_and_a_slash_behind_packages(tree):
    assert graph(rooms(tree, "tangent")).splitlines() == [
        "```mermaid",
        "flowchart TD",
        '    tangent_refine["refine"]',
        '    tangent_fit["fit"]',
        '    tangent_solvers["solvers/"]',
        '    tangent_errors["errors"]',
        '    tangent_view["view"]',
        "    tangent_refine --> tangent_fit",
        "    tangent_fit --> tangent_solvers",
        "    tangent_solvers --> tangent_errors",
        "```",
    ]


def test_the_picture_of_the_whole_frames_two_packages_beside_two_shut_boxes(tree):
    found = [line.strip() for line in picture(tree).split("```")[1].splitlines()]
    frame = found[found.index("subgraph app") + 1 : found.index("end")]
    assert sorted(frame) == [
        'app_api["api/"]',
        'app_engine["engine"]',
        'app_main["main"]',
        'app_settings["settings"]',
        'app_store["store/"]',
    ]
    assert found[found.index("end") + 1 :] == [
        "subgraph tangent_composer",
        'tangent_composer_schemas["schemas"]',
        "end",
        'training_worker["training_worker/"]',
        'tangent["tangent/"]',
        "app_main --> app_api",
        "app_api --> app_engine",
        "training_worker --> app_store",
        "app_engine --> app_settings & app_store & tangent",
        "app_store --> app_engine & app_settings",
    ]


def test_a_page_keeps_its_text_around_the_picture(tree):
    page = "before <!-- rooms -->old<!-- /rooms --> after"
    assert rendered(page, tree) == f"before {picture(tree)} after"
    assert rendered(rendered(page, tree), tree) == rendered(page, tree)


def test_a_page_without_a_place_for_the_picture_is_an_error(tree):
    with pytest.raises(ValueError, match="0 places from <!-- rooms --> to <!-- /rooms -->"):
        rendered("no place here", tree)


def test_the_picture_of_this_project_can_be_drawn():
    assert picture().count("```mermaid") == 2
